"""How a component fails: one line per problem on standard error and an exit code that says whose fault it was.

    ComponentError                 1   (never raised itself)
    ├── InvalidInput               3   rows, settings or files the user can mend
    ├── AuthError                  4   a secret is missing or refused
    ├── NotFound                   5   a model or a deployment that does not exist
    └── ServiceUnavailable        13   a service that did not answer after retries

Any other exception is a bug and leaves a traceback and exit code 1.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from types import FrameType


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the user's input, and where.

    `line` counts from 1; 0 or None means the problem concerns the whole file.
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

    def to_json(self) -> dict[str, str | int | None]:
        return asdict(self)


class ComponentError(Exception):
    """Base of everything a component reports to its user without a traceback."""

    exit_code = 1

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = [p if isinstance(p, Problem) else Problem(p) for p in problems]
        super().__init__("\n".join(map(str, self.problems)))


class InvalidInput(ComponentError):
    exit_code = 3


class AuthError(ComponentError):
    exit_code = 4


class NotFound(ComponentError):
    exit_code = 5


class ServiceUnavailable(ComponentError):
    exit_code = 13


SHOWN = 20


def run_main(main: Callable[[Sequence[str]], None]) -> None:
    """Run a component's `main(argv)`: errors become lines and exit codes, SIGTERM becomes SystemExit(143)."""

    def terminate(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, terminate)
    try:
        main(sys.argv[1:])
    except ComponentError as error:
        report(error)
        raise SystemExit(error.exit_code) from None
    except OSError as error:
        if error.errno is None or os.environ.get("AZURE_DISTILL_TRACEBACK") == "1":
            raise
        print(f"error: {error.strerror}: {error.filename or 'while writing an output'}", file=sys.stderr)
        raise SystemExit(1) from None


def report(error: ComponentError) -> None:
    """Print the first problems of `error`; the rest are counted."""
    for problem in error.problems[:SHOWN]:
        print(f"error: {problem}", file=sys.stderr)
    if len(error.problems) > SHOWN:
        print(f"error: … and {len(error.problems) - SHOWN} more", file=sys.stderr)


def load_json(text: str, name: str) -> dict[str, object]:
    """The JSON object given for the argument `name`; raises InvalidInput when it is not one."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInput(Problem(f"is not JSON: {error}", field=name)) from None
    if not isinstance(value, dict):
        raise InvalidInput(Problem("is not a JSON object", field=name))
    return value
