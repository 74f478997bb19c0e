"""The headline figures on top of the report, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from evaluation.verdict import alike
from evaluation.wording import (
    amount,
    count,
    milliseconds,
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


@dataclass(frozen=True)
class Card:
    """A headline figure with what it says and how sure it is."""

    label: str
    value: str
    note: str


def cards(document: Mapping[str, Any]) -> list[Card]:
    """The figures on top of the page, at most five."""
    return [card for card in (_quality(document), *_kept(document), _gain(document), *_cheaper(document)) if card]


def _quality(document: Mapping[str, Any]) -> Card | None:
    name = document["headline"]
    role = next((role for role in ("student", "baseline", "teacher") if role in document["contenders"]), "student")
    figure = document["contenders"].get(role, {}).get("metrics", {}).get(name)
    if not figure:
        return None
    against = "" if document["basis"] == "reference" else " (agreement with the teacher)"
    interval, n = span(name, figure), rows(figure["n"])
    return Card(title(name) + against, amount(name, figure["value"]), f"{interval}, {n}" if interval else n)


def _kept(document: Mapping[str, Any]) -> Iterator[Card]:
    kept, name = document["retention"], document["headline"]
    if kept:
        teacher = document["contenders"]["teacher"]["metrics"][name]
        interval = percent_span(kept)
        note = f"of its {amount(name, teacher['value'])}" + (f", interval {interval}" if interval else "")
        yield Card("Kept of the teacher", percent(kept["value"]), note)


def _gain(document: Mapping[str, Any]) -> Card | None:
    gain, name = document["gain"], document["headline"]
    if not gain:
        return None
    note = f"points over the untrained student, {points_span(name, gain)}"
    return Card("Gain", points(name, gain["value"]), note)


def _cheaper(document: Mapping[str, Any]) -> Iterator[Card]:
    student = document["contenders"].get("student", {})
    reductions = document["reductions"]
    faster, smaller, fewer = (reductions.get(key) for key in ("inference_time_ms", "weight_bytes", "parameters"))
    if faster and faster["student"]:
        network = "" if alike(document["contenders"]) else ", with its network"
        note = f"{milliseconds(faster['student'])} instead of {milliseconds(faster['teacher'])}{network}"
        yield Card("Times as fast", f"{rate(faster['teacher'] / faster['student'])} ×", note)
    elif student.get("latency_ms"):
        yield Card("Latency", milliseconds(student["latency_ms"]["p50"]), "median, in process, batch 1")
    if smaller and smaller["student"]:
        note = f"{size(smaller['student'])} instead of {size(smaller['teacher'])}"
        yield Card("Times as small", f"{rate(smaller['teacher'] / smaller['student'])} ×", note)
    elif fewer and fewer["student"]:
        note = f"{count(fewer['student'])} parameters instead of {count(fewer['teacher'])}"
        yield Card("Times as small", f"{rate(fewer['teacher'] / fewer['student'])} ×", note)
    elif student.get("weight_bytes"):
        yield Card("Weights", size(student["weight_bytes"]), f"{count(student['parameters'])} parameters")
