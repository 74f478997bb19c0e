"""An unknown name, with the name that was probably meant."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from shared.errors import Problem


def unknown(kind: str, name: str, known: Sequence[str], field: str) -> Problem:
    """`settings.metrics: unknown metric 'acuracy' (did you mean 'accuracy'? known: …)`"""
    near = get_close_matches(name, known, 1)
    hint = f"known: {', '.join(known)}"
    return Problem(f"unknown {kind} {name!r}", field=field, hint=f"did you mean {near[0]!r}? {hint}" if near else hint)
