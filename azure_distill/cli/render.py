"""How things look on a terminal and in a pipe.  Results go to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azure_distill.errors import Problem

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from azure_distill.backend import Run, StepState

STYLES = {
    "Completed": "green",
    "Failed": "red",
    "NotResponding": "red",
    "Canceled": "yellow",
    "CancelRequested": "yellow",
    "Running": "cyan",
}
SHOWN_PROBLEMS = 50


def console(*, stderr: bool = False) -> Console:
    """A console that is plain when piped and without colour under NO_COLOR; wide enough for tables in a pipe."""
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False, soft_wrap=False)
    if not made.is_terminal:
        made.width = 160
    return made


def print_json(value: Any) -> None:
    """Exactly one JSON value on standard output."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def print_error(text: str) -> None:
    """What went wrong, the lines below the first under it."""
    print("error: " + text.replace("\n", "\n       "), file=sys.stderr)


def print_problems(problems: Sequence[Problem]) -> None:
    """The first problems, a line each; the rest are counted."""
    for problem in problems[:SHOWN_PROBLEMS]:
        print(f"error: {_relative(problem)}", file=sys.stderr)
    if len(problems) > SHOWN_PROBLEMS:
        print(f"error: … and {len(problems) - SHOWN_PROBLEMS} more (--json lists all)", file=sys.stderr)


def _relative(problem: Problem) -> Problem:
    from dataclasses import replace

    return replace(problem, file=short_path(problem.file)) if problem.file else problem


def short_path(path: str | Path) -> str:
    """A path as a person would type it: relative to the current folder where that is shorter."""
    text = str(path)
    try:
        relative = str(Path(text).relative_to(Path.cwd()))
    except ValueError:
        return text
    return relative if len(relative) < len(text) else text


def moment(created: str) -> str:
    """A time as a person reads it: to the minute, in UTC as it is kept."""
    return created[:16].replace("T", " ")


def step_table(run: Run) -> Table:
    """Steps with their status, time and what they do or why they ran."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, justify in (("STEP", "left"), ("STATUS", "left"), ("TIME", "right"), ("", "left")):
        table.add_column(name, justify=justify, no_wrap=name != "")  # type: ignore[arg-type]
    for name, state in run.steps.items():
        style = STYLES.get(state.status, "dim")
        table.add_row(name, Text(_status(state), style=style), duration(state.seconds), Text(_note(state), style="dim"))
    return table


def _status(state: StepState) -> str:
    return "cached" if state.cached else state.status


def _note(state: StepState) -> str:
    if state.error:
        return first_line(state.error)
    if state.cached:
        return f"from {state.cached}"
    if state.status == "Running" and state.progress:
        return state.progress
    return state.reason or ""


def first_line(text: str) -> str:
    """The first line of a text, marked where more follow."""
    first, _, rest = text.partition("\n")
    return f"{first} …" if rest else first


def duration(seconds: float | None) -> str:
    """Seconds as `0.4 s`, `37 s`, `2:05` or `1:02:03`."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
