"""Typed values out of the JSON arguments; every problem of an argument is reported at once."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from shared.errors import InvalidInput, Problem


class Reader:
    """Takes the fields of one JSON object, each once; `finish` raises InvalidInput with all that was wrong."""

    def __init__(self, value: Mapping[str, Any], name: str) -> None:
        self.value, self.name = value, name
        self.problems: list[Problem] = []
        self.known: set[str] = set()

    def text(self, field: str) -> str | None:
        """A non-empty text, or None where it is absent."""
        text: str | None = self._take(field, lambda v: isinstance(v, str) and bool(v.strip()), "a text", None)
        return text

    def number(self, field: str, default: float | None, low: float, high: float = math.inf) -> float | None:
        """A number from `low` to `high`; null counts as given and gives None."""
        wanted = f"a number from {low:g} to {high:g}" if high < math.inf else f"a number of at least {low:g}"
        number: float | None = self._take(field, lambda v: _is_number(v) and low <= v <= high, wanted, default)
        return number

    def whole(self, field: str, default: int | None, low: int) -> int | None:
        """A whole number of at least `low`."""
        wanted = f"a whole number of at least {low}"
        number: int | None = self._take(field, lambda value: type(value) is int and value >= low, wanted, default)
        return number

    def choice(self, field: str, known: Collection[str]) -> str | None:
        """One of a few words, or None where it is absent."""
        wanted = f"one of {', '.join(known)}"
        word: str | None = self._take(field, lambda value: isinstance(value, str) and value in known, wanted, None)
        return word

    def boolean(self, field: str, default: bool) -> bool:
        given = self._take(field, lambda value: isinstance(value, bool), "true or false", default)
        return default if given is None else bool(given)

    def mapping(self, field: str) -> Mapping[str, Any] | None:
        """A JSON object, or None where it is absent."""
        found: Mapping[str, Any] | None = self._take(field, lambda v: isinstance(v, dict), "a JSON object", None)
        return found

    def problem(self, field: str, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(message, field=f"{self.name}.{field}", hint=hint))

    def finish(self) -> None:
        """Refuse unknown fields, and raise when anything was wrong."""
        for field in sorted(self.value.keys() - self.known):
            self.problem(field, "is no setting", f"known: {', '.join(sorted(self.known))}")
        if self.problems:
            raise InvalidInput(*self.problems)

    def _take(self, field: str, valid: Any, wanted: str, default: Any) -> Any:
        self.known.add(field)
        value = self.value.get(field, default)
        if value is None or valid(value):
            return value
        self.problem(field, f"must be {wanted}, not {value!r}")
        return default


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
