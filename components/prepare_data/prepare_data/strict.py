"""JSON as the standard has it: no NaN, no key twice in one object, and errors without the text itself."""

from __future__ import annotations

import json
from typing import Any

from shared.errors import Problem


class BadJson(ValueError):
    """Text that is not strict JSON; `cut` when it ends too early, as a half-written line does."""

    def __init__(self, message: str, field: str | None = None, cut: bool = False) -> None:
        super().__init__(message)
        self.problem = Problem(message, field=field)
        self.cut = cut


def parse(text: str) -> Any:
    """The value of a JSON text; raises BadJson."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        raise BadJson(f"is not JSON: {error.msg} at column {error.pos + 1}", cut=cut) from None
    except RecursionError:
        raise BadJson("is nested too deeply") from None
    except BadJson:
        raise
    except ValueError:
        raise BadJson("holds a number of too many digits") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise BadJson("stands twice in one JSON object", field=twice[:40])
    return value


def _no_constant(name: str) -> Any:
    raise BadJson(f"{name} is not JSON")
