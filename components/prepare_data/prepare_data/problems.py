"""Collects every problem of a run: the first ones whole, all of them counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from shared.errors import InvalidInput, Problem

LISTED = 1000

P = ParamSpec("P")
T = TypeVar("T")


class Problems:
    """All that is wrong with the input.  `listed` holds the first `LISTED` problems, `count` counts all.

    `warnings` are what is allowed and yet probably not meant.
    """

    def __init__(self) -> None:
        self.listed: list[Problem] = []
        self.count = 0
        self.warnings: list[str] = []

    def add(self, *problems: Problem) -> None:
        self.count += len(problems)
        self.listed += problems[: LISTED - len(self.listed)]

    def extend(self, problems: Iterable[Problem]) -> None:
        self.add(*problems)

    def attempt(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What `function` returns; None, and its problems taken in, where it raises InvalidInput."""
        try:
            return function(*args, **kwargs)
        except InvalidInput as error:
            self.extend(error.problems)
            return None

    def raise_any(self) -> None:
        """Raise InvalidInput with all of it; the count comes first where the list is not whole."""
        if self.count > len(self.listed):
            raise InvalidInput(f"{self.count} problems; data_report.json lists the first {LISTED}", *self.listed)
        if self.listed:
            raise InvalidInput(*self.listed)
