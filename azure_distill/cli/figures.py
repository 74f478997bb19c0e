"""The figures of an evaluation on a terminal: the models of one run, or the students of several."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

ROLES = {
    "teacher": "teacher",
    "baseline": "untrained student",
    "gold_only": "gold rows only",
    "other": "other model",
    "student": "distilled student",
}
COSTS = ("P50", "P95", "TOKENS/S", "PARAMETERS", "WEIGHTS")


def comparison(metrics: Mapping[str, Any], screen: Console) -> Table:
    """The contenders of an evaluation side by side: quality with its 95 % interval, speed, size."""
    wanted = _metric_names(metrics)
    scales, contenders = metrics.get("scales", {}), metrics.get("contenders", {})
    lines = [_contender(ROLES.get(role, role), each, wanted, scales) for role, each in contenders.items()]
    return _fitting(screen, [_headings("MODEL", wanted), *lines], emphasised=ROLES["student"])


def comparison_of_runs(runs: Mapping[str, Mapping[str, Any]], screen: Console) -> Table:
    """The students of several runs (their metrics, by name) side by side, with what each gained and kept."""
    wanted = list(dict.fromkeys(name for metrics in runs.values() for name in _metric_names(metrics)))
    lines = []
    for name, metrics in runs.items():
        shares = [(metrics.get(key) or {}).get("value") for key in ("gain", "retention")]
        student = metrics.get("contenders", {}).get("student", {})
        cells = _contender(name, student, wanted, metrics.get("scales", {}))
        lines.append([*cells, *("–" if share is None else f"{share:.3f}" for share in shares), _gate(metrics)])
    return _fitting(screen, [[*_headings("RUN", wanted), "GAIN", "RETENTION", "GATE"], *lines])


def failures(runs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A sentence for each run whose student could not be evaluated."""
    students = {name: metrics.get("contenders", {}).get("student", {}) for name, metrics in runs.items()}
    return [
        f"{name}: the student could not be evaluated: {student.get('error', '')}"
        for name, student in students.items()
        if student.get("status") == "failed"
    ]


def same_test_rows(runs: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the runs were measured on the same held-out rows; only then can their figures be compared."""
    return len({(metrics.get("provenance") or {}).get("test_sha256") for metrics in runs.values()}) == 1


def _fitting(screen: Console, lines: Sequence[Sequence[str]], emphasised: str = "") -> Table:
    """A line for each model; a column for each where the screen is too narrow for that."""
    wide = _table(lines, {line[0] for line in lines[1:]} & {emphasised})
    if screen.measure(wide, options=screen.options.update(width=10_000)).maximum <= screen.width:
        return wide
    return _table([[_in_two(cell) for cell in figure] for figure in zip(*lines, strict=True)])


def _in_two(cell: str) -> str:
    """`0.915 [0.884, 0.938]` as `0.915` above `0.884–0.938`."""
    value, bracket, interval = cell.partition(" [")
    return f"{value}\n{interval.rstrip(']').replace(', ', '–')}" if bracket else cell


def _table(lines: Sequence[Sequence[str]], emphasised: Collection[str] = ()) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for place, heading in enumerate(lines[0]):
        table.add_column(heading, justify="right" if place else "left", overflow="fold")
    for line in lines[1:]:
        style = "bold" if line[0] in emphasised else ""
        table.add_row(*(Text(cell, style=style) for cell in line))
    return table


def _headings(first: str, wanted: Sequence[str]) -> list[str]:
    return [first, "N", *(name.upper().replace("_", " ") + " [95 %]" for name in wanted), *COSTS]


def _metric_names(metrics: Mapping[str, Any]) -> list[str]:
    """The metrics that some contender has, but the latency, which has columns of its own."""
    contenders = metrics.get("contenders", {}).values()
    names = dict.fromkeys(name for contender in contenders for name in contender.get("metrics", {}))
    return [name for name in names if name != "inference_time"]


def _contender(
    label: str, contender: Mapping[str, Any], wanted: Sequence[str], scales: Mapping[str, float]
) -> list[str]:
    """The cells of one model; why it failed is said by `verdict`."""
    if contender.get("status") == "failed":
        return [label, "failed", *("–" for _ in (*wanted, *COSTS))]
    latency = contender.get("latency_ms") or {}
    return [
        label,
        str(contender.get("n", "")),
        *(interval(contender.get("metrics", {}).get(name), scales.get(name, 1)) for name in wanted),
        milliseconds(latency.get("p50")),
        milliseconds(latency.get("p95")),
        number(contender.get("tokens_per_s")),
        count(contender.get("parameters")),
        size(contender.get("weight_bytes")),
    ]


def _gate(metrics: Mapping[str, Any]) -> str:
    gate = metrics.get("gate") or {}
    return ("passed" if gate["passed"] else "FAILED") if gate.get("checks") else "–"


def verdict(metrics: Mapping[str, Any]) -> list[str]:
    """The sentences under the table: what is gained and kept, how sure that is, and the gate."""
    lines = [str(line) for key in ("summary", "notes") for line in metrics.get(key) or ()]
    for check in (metrics.get("gate") or {}).get("checks", ()):
        outcome = "passed" if check["passed"] else "FAILED"
        why = check.get("reason")
        lines.append(f"Gate: {check['check']}: {outcome}" + (f": {why}" if why else f" ({number(check.get('value'))})"))
    return lines


def tell(sentence: str, screen: Console) -> None:
    """Print a sentence, on a terminal in lines of its width that do not break `n = 400` as rich would."""
    if screen.is_terminal:
        sentence = textwrap.fill(sentence, screen.width, break_long_words=False, break_on_hyphens=False)
    screen.print(sentence, markup=False, highlight=False, soft_wrap=True)


def interval(value: Mapping[str, Any] | None, scale: float = 1) -> str:
    """`0.915 [0.884, 0.938]`, or `31.2 [29.0, 33.5]` of a figure that runs to 100."""
    if not value or value.get("value") is None:
        return "–"
    digits = 3 if scale == 1 else 1
    if value.get("low") is None:
        return f"{value['value']:.{digits}f}"
    return f"{value['value']:.{digits}f} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"


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
