"""Every error that azure-distill raises for its user, and the exit code each one ends the command with.

    DistillError                1   an internal error when raised itself
    ├── InvalidJob              3   the job file, its data or its plan; holds every problem at once
    ├── ConfigurationError      4   identity, workspace, a missing extra, an unusable state folder
    ├── NotFound                5   a run, step, output, model or component that does not exist
    ├── JobFailed              10   a run that ended Failed or NotResponding, or whose gate did not pass
    ├── JobCanceled            11
    ├── WaitTimeout            12   waiting ended; the run goes on
    └── ServiceUnavailable     13   a service that did not answer after retries

Usage errors are click's (2); an interrupt is 130.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a job file or a data file, and where.

    `line` counts from 1; None means the problem concerns the whole file.
    """

    message: str
    file: str | None = None
    line: int | None = None
    field: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line) if part)
        head = ": ".join(part for part in (where, self.field, self.message) if part)
        return f"{head} ({self.hint})" if self.hint else head

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class DistillError(Exception):
    """Base of all; `hint` says what to do about it."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class InvalidJob(DistillError):
    """A job that cannot run; `problems` lists everything that is wrong."""

    exit_code = 3

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = list(problems)


class ConfigurationError(DistillError):
    exit_code = 4


class NotFound(DistillError):
    exit_code = 5


class JobFailed(DistillError):
    exit_code = 10


class JobCanceled(DistillError):
    exit_code = 11


class WaitTimeout(DistillError):
    exit_code = 12


class ServiceUnavailable(DistillError):
    exit_code = 13


def near(word: str, known: Iterable[str]) -> str | None:
    """`did you mean 'x'?` for the closest known word, if one is close."""
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else None


def choices(word: str, known: Iterable[str]) -> str:
    """What may have been meant by `word`, or else all that there is."""
    names = sorted(known)
    return near(word, names) or (f"there are {', '.join(names)}" if names else "there are none")
