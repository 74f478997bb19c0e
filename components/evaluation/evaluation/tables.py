"""The tables of the report, as text ready for their cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from evaluation.figures import AGAINST
from evaluation.metrics import LATENCY, PERCENT
from evaluation.wording import (
    IN_PROCESS,
    SHORT_NAMES,
    amount,
    count,
    milliseconds,
    money,
    p_value,
    percent,
    percent_span,
    points,
    points_span,
    rate,
    rows,
    size,
    span,
    title,
)

NONE = "–"


@dataclass(frozen=True)
class Cell:
    main: str = NONE
    note: str = ""


@dataclass(frozen=True)
class Line:
    """One line of a table: what it is about, and its cells; `section` begins a new group."""

    name: str
    note: str = ""
    cells: list[Cell] = field(default_factory=list)
    section: str = ""


def figure_rows(document: Mapping[str, Any]) -> list[Line]:
    """Every figure of every contender: lines are figures, columns are contenders."""
    contenders = list(document["contenders"].values())
    names = list(dict.fromkeys(name for contender in contenders for name in contender["metrics"] if name != LATENCY))
    quality = [_quality_line(name, contenders, "" if place else "Quality") for place, name in enumerate(names)]
    return [*quality, *_further_rows(contenders), *_cost_rows(contenders)]


def reduction_rows(document: Mapping[str, Any]) -> list[Line]:
    """Teacher → student, and by how much: the price and the profit of distilling."""
    shown: dict[str, tuple[str, Callable[[float], str]]] = {
        "parameters": ("Parameters", count),
        "weight_bytes": ("Memory (weights)", size),
        "peak_memory_bytes": ("Peak memory", size),
        "inference_time_ms": ("Inference time (median)", milliseconds),
        "rows_per_s": ("Throughput (in batches, rows/s)", rate),
    }
    headline = document["headline"]
    shown[headline] = (title(headline), lambda value: amount(headline, value))
    lines = []
    for key, (name, text) in shown.items():
        found = document["reductions"].get(key)
        if found:
            change = -found["reduction"]
            changed = f"{found['student'] / found['teacher']:.3g} ×" if change > 1 else f"{100 * change:+.1f} %"
            cells = [Cell(text(found["teacher"])), Cell(text(found["student"])), Cell(changed.replace("-", "−"))]
            lines.append(Line(name, cells=cells))
    return lines


def label_rows(document: Mapping[str, Any]) -> tuple[list[str], list[Line]]:
    """(roles, a line a label: the rows that have it, then each contender's F1 with precision and recall)."""
    tables = {role: each["labels"] for role, each in document["contenders"].items() if each.get("labels")}
    supports: dict[str, int] = {}
    for table in tables.values():
        for label, figure in table.items():
            supports[label] = max(figure["support"], supports.get(label, 0))
    lines = [
        Line(label, cells=[Cell(f"{n:,}"), *(_label_cell(table.get(label)) for table in tables.values())])
        for label, n in sorted(supports.items(), key=lambda item: (-item[1], item[0]))
    ]
    return list(tables), lines


def comparison_columns(document: Mapping[str, Any]) -> dict[str, str]:
    """Whom the student is compared with: the comparisons that some metric has, with their headings."""
    headings = {key: SHORT_NAMES[role] for key, role in AGAINST.items()} | {"retention": "kept of the teacher"}
    return {key: name for key, name in headings.items() if any(key in m for m in document["comparisons"].values())}


def comparison_rows(document: Mapping[str, Any]) -> list[Line]:
    """The student against the others on the rows that both answered, by `comparison_columns`."""
    columns = comparison_columns(document)
    return [
        Line(title(name), cells=[_comparison_cell(key, name, found.get(key)) for key in columns])
        for name, found in document["comparisons"].items()
        if found
    ]


@dataclass(frozen=True)
class _Measured:
    """A figure as text, its interval (or what else stands under it), and the rows that it is measured on."""

    main: str
    note: str
    n: int


def _line(name: str, note: str, figures: list[_Measured | None], section: str = "") -> Line:
    """A line of figures.  The number of rows stands once, beside the name, where it is the same for all."""
    counts = {figure.n for figure in figures if figure}
    same = len(counts) == 1
    cells = [
        Cell(each.main, each.note if same else _joined(each.note, rows(each.n))) if each else Cell() for each in figures
    ]
    return Line(name, _joined(note, *map(rows, counts)) if same else note, cells, section)


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _quality_line(name: str, contenders: list[Mapping[str, Any]], section: str) -> Line:
    found = [contender["metrics"].get(name) for contender in contenders]
    shown = [_Measured(amount(name, each["value"]), span(name, each), each["n"]) if each else None for each in found]
    return _line(title(name), "0 to 100" if name in PERCENT else "", shown, section)


def _label_cell(figure: Mapping[str, Any] | None) -> Cell:
    if not figure:
        return Cell()
    return Cell(percent(figure["f1"]), f"{percent(figure['precision'])} · {percent(figure['recall'])}")


def _further_rows(contenders: list[Mapping[str, Any]]) -> Iterator[Line]:
    shown: dict[str, tuple[str, str, Callable[[Mapping[str, Any]], str]]] = {
        "agreement": ("Agreement with the teacher", "", lambda figure: percent(figure["value"])),
        "format_validity": ("Answers of the right form", "", lambda figure: percent(figure["value"])),
        "fact_recall": ("Facts recalled", "", lambda figure: percent(figure["value"])),
        "kl_to_teacher": ("KL to the teacher", "nats; 0 is the same", lambda figure: f"{figure['value']:.3f}"),
        "calibration": ("Calibration error", "ECE; 0 is best", lambda figure: percent(figure["ece"])),
        "perplexity": ("Perplexity of the references", "by tokens of its own", lambda figure: f"{figure['value']:.4g}"),
    }
    for key, (name, note, text) in shown.items():
        figures = [contender.get(key) for contender in contenders]
        if any(figures):
            measured = [
                _Measured(text(each), _further_note(key, each), each["n"]) if each else None for each in figures
            ]
            yield _line(name, note, measured)


def _further_note(key: str, figure: Mapping[str, Any]) -> str:
    if key == "perplexity":
        return f"{figure['bits_per_byte']:.3g} bits a byte"
    if key == "calibration" or figure["low"] is None:
        return ""
    return f"{figure['low']:.3f}–{figure['high']:.3f}" if key == "kl_to_teacher" else percent_span(dict(figure))


def _cost_rows(contenders: list[Mapping[str, Any]]) -> Iterator[Line]:
    def cells(text: Callable[[Any], str], key: str) -> list[Cell]:
        return [Cell(text(contender[key])) if contender.get(key) else Cell() for contender in contenders]

    latencies = [contender.get("latency_ms") or {} for contender in contenders]
    for place, key in enumerate(("p50", "p95")):
        shown = [
            Cell(milliseconds(each[key]), "" if each["how"] == IN_PROCESS else each["how"]) if each.get(key) else Cell()
            for each in latencies
        ]
        timed = next((each["n"] for each in latencies if each.get("how") == IN_PROCESS), None)
        how = f"{IN_PROCESS}, {rows(timed)}" if timed else ""
        yield Line(f"Latency {key}", how, shown, "" if place else "Cost of running")
    yield from _first_token(contenders)
    yield Line("Tokens per second", "batch 1", cells(rate, "tokens_per_s"))
    yield Line("Rows per second", "in batches", cells(rate, "rows_per_s"))
    yield from _queries(contenders)
    for key, name, note in (
        ("usd_per_1000_requests", "Price of 1,000 requests", "at the endpoint's prices"),
        ("break_even_usd_per_hour", "Break-even price", "an hour of this machine, busy, at the teacher's price"),
    ):
        if any(contender.get(key) is not None for contender in contenders):
            asked = [contender.get(key) for contender in contenders]
            yield Line(name, note, [Cell() if price is None else Cell(money(price)) for price in asked])
    published = ["as published" if contender["kind"] == "endpoint" else "" for contender in contenders]
    known = cells(count, "parameters")
    yield Line(
        "Parameters", "", [Cell(c.main, n if c.main != NONE else "") for c, n in zip(known, published, strict=True)]
    )
    sized = [
        Cell(size(contender["weight_bytes"]), contender.get("dtype", "")) if contender.get("weight_bytes") else Cell()
        for contender in contenders
    ]
    yield Line("Weights", "", sized)
    yield Line("Peak memory", "above the libraries' own", cells(size, "peak_memory_bytes"))


def _first_token(contenders: list[Mapping[str, Any]]) -> Iterator[Line]:
    found = [contender.get("ttft_ms") for contender in contenders]
    if any(found):
        cells = [
            Cell(milliseconds(each["p50"]), f"p95 {milliseconds(each['p95'])}") if each else Cell() for each in found
        ]
        yield Line("Time to first token", f"median, {IN_PROCESS}", cells)


def _queries(contenders: list[Mapping[str, Any]]) -> Iterator[Line]:
    found = [contender.get("queries_per_hour") or {} for contender in contenders]
    for batch in dict.fromkeys(batch for each in found for batch in each):
        cells = [Cell(rate(each[batch])) if batch in each else Cell() for each in found]
        yield Line("Queries per hour", f"batch {batch}", cells)


def _comparison_cell(key: str, name: str, figure: Mapping[str, Any] | None) -> Cell:
    if not figure:
        return Cell()
    if key == "retention":
        return Cell(percent(figure["value"]), percent_span(dict(figure)))
    interval = points_span(name, dict(figure))
    note = f"{interval}, {p_value(figure['p'])}" if interval else p_value(figure["p"])
    return Cell(points(name, figure["value"]), note)
