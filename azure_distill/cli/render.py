"""How things look on a terminal and in a pipe.  Results go to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
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
        return state.error.splitlines()[0]
    if state.cached:
        return f"from {state.cached}"
    if state.status == "Running" and state.progress:
        return state.progress
    return state.reason or ""


def duration(seconds: float | None) -> str:
    """Seconds as `0.4 s`, `37 s`, `2:05` or `1:02:03`."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


ROLES = {
    "teacher": "teacher",
    "baseline": "untrained student",
    "gold_only": "gold rows only",
    "other": "other model",
    "student": "distilled student",
}


def comparison(metrics: Mapping[str, Any]) -> Table:
    """The contenders of an evaluation side by side: quality with its 95 % interval, speed, size."""
    from rich.text import Text

    wanted = [name for name in _metric_names(metrics) if name != "inference_time"]
    table = _figures_table("MODEL", wanted)
    for role, contender in metrics.get("contenders", {}).items():
        style = "bold" if role == "student" else ""
        table.add_row(*(Text(cell, style=style) for cell in _contender(role, contender, wanted)))
    return table


def comparison_of_runs(runs: Mapping[str, Mapping[str, Any]]) -> Table:
    """The students of several runs (their metrics, by name) side by side, with what each gained and kept."""
    from rich.text import Text

    wanted = list(dict.fromkeys(name for metrics in runs.values() for name in _metric_names(metrics)))
    wanted = [name for name in wanted if name != "inference_time"]
    table = _figures_table("RUN", wanted)
    for heading in ("GAIN", "RETENTION", "GATE"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, metrics in runs.items():
        cells = _contender(name, metrics.get("contenders", {}).get("student", {}), wanted)
        cells += [""] * (len(table.columns) - 3 - len(cells))
        shares = [(metrics.get(key) or {}).get("value") for key in ("gain", "retention")]
        cells += ["–" if share is None else f"{share:.3f}" for share in shares]
        table.add_row(*map(Text, [*cells, _gate(metrics)]))
    return table


def _gate(metrics: Mapping[str, Any]) -> str:
    gate = metrics.get("gate") or {}
    return ("passed" if gate["passed"] else "FAILED") if gate.get("checks") else "–"


def same_test_rows(runs: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the runs were measured on the same held-out rows; only then can their figures be compared."""
    return len({(metrics.get("provenance") or {}).get("test_sha256") for metrics in runs.values()}) == 1


def _figures_table(first: str, wanted: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column(first, no_wrap=True)
    table.add_column("N", justify="right")
    for name in wanted:
        table.add_column(name.upper().replace("_", " ") + " [95 %]", justify="right", no_wrap=True)
    for name in ("P50", "P95", "TOKENS/S", "PARAMETERS", "WEIGHTS"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _metric_names(metrics: Mapping[str, Any]) -> list[str]:
    names: list[str] = []
    for contender in metrics.get("contenders", {}).values():
        names += [name for name in contender.get("metrics", {}) if name not in names]
    return names


def _contender(role: str, contender: Mapping[str, Any], wanted: Sequence[str]) -> list[str]:
    label = ROLES.get(role, role)
    if contender.get("status") == "failed":
        return [label, "", f"failed: {contender.get('error', '')}"]
    latency = contender.get("latency_ms") or {}
    return [
        label,
        str(contender.get("n", "")),
        *(interval(contender.get("metrics", {}).get(name)) for name in wanted),
        milliseconds(latency.get("p50")),
        milliseconds(latency.get("p95")),
        number(contender.get("tokens_per_s")),
        count(contender.get("parameters")),
        size(contender.get("weight_bytes")),
    ]


def verdict(metrics: Mapping[str, Any]) -> list[str]:
    """The sentences under the table: what is gained and kept, how sure that is, and the gate."""
    lines = [str(line) for key in ("summary", "notes") for line in metrics.get(key) or ()]
    for check in (metrics.get("gate") or {}).get("checks", ()):
        outcome = "passed" if check["passed"] else check.get("reason") or "FAILED"
        lines.append(f"Gate: {check['check']}: {outcome} ({number(check.get('value'))})")
    return lines


def interval(value: Mapping[str, Any] | None) -> str:
    """`0.915 [.884, .938]`"""
    if not value or value.get("value") is None:
        return "–"
    if value.get("low") is None:
        return f"{value['value']:.3f}"
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def count(value: float | None) -> str:
    """`134.5M`, `7.6B`"""
    if value is None:
        return "–"
    for unit, scale in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:.3g}{unit}"
    return str(value)


def size(value: float | None) -> str:
    """Bytes as `2.8 MB`, in powers of ten."""
    if value is None:
        return "–"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value} B"
