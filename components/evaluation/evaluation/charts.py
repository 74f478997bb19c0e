"""The charts of the report.  Contenders differ by colour, by place and by name, never by colour alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.chart import WIDTH, Chart, grid_x, grid_y
from evaluation.label_charts import confusion, label_bars, reliability
from evaluation.svg import Axis, Canvas, padded, padded_log
from evaluation.wording import ROLE_NAMES, SHORT_NAMES, amount, inline, milliseconds, size, title

Box = tuple[float, float, float, float]  # left, top, right, bottom


def all_charts(document: Mapping[str, Any], training: Mapping[str, Any]) -> tuple[list[Chart], list[str]]:
    """Every chart there is data for, and a sentence for each that there is none for."""
    drawn: list[tuple[Chart | None, str]] = [  # two of about the same height stand side by side
        (intervals(document), "Quality: no contender has a figure with an interval."),
        (latencies(document), "Latency: no contender was timed in process."),
        (trade_off(document), "Quality, latency and size: fewer than two contenders have both figures."),
        (reliability(document), "Calibration: the answers have no probabilities; they are written, not chosen."),
        (label_bars(document), "F1 by label: the answers are texts, not labels."),
        (confusion(document), "Confusion matrix: the student does not answer by labels."),
        (loss_curve(training), "Training loss: the student comes without a training.json that holds it."),
        (validation_curve(training), "Validation: the student comes without figures after two epochs or more."),
    ]
    return [chart for chart, _ in drawn if chart], [reason for chart, reason in drawn if not chart]


def intervals(document: Mapping[str, Any]) -> Chart | None:
    """The headline metric of every contender with its interval."""
    name = document["headline"]
    known = {role: figure for role, figure in _figures(document, name).items() if figure["low"] is not None}
    if not known:
        return None
    height = 34 * len(known) + 40
    canvas = Canvas(WIDTH, height, f"{title(name)} with 95 % intervals")
    top = document["scales"].get(name, 1)
    low, high = padded([value for figure in known.values() for value in (figure["low"], figure["high"])])
    axis = Axis(max(0.0, low), min(float(top), high), 96, WIDTH - 66)
    grid_x(canvas, axis, 8, height - 28, lambda value: f"{value:g}" if top == 100 else f"{100 * value:g} %")
    for place, (role, figure) in enumerate(known.items()):
        y = 26 + 34 * place
        shown = amount(name, figure["value"])
        canvas.text(0, y + 4, SHORT_NAMES[role], "name")
        canvas.line(axis(figure["low"]), y, axis(figure["high"]), y, f"whisker {role}")
        canvas.circle(axis(figure["value"]), y, 6, role, f"{ROLE_NAMES[role]}: {shown}, n = {figure['n']}")
        canvas.text(WIDTH, y + 4, shown, "number", "end")
    return Chart(title(name), "Point and 95 % interval on the held-out rows; further right is better.", canvas)


def trade_off(document: Mapping[str, Any]) -> Chart | None:
    """Quality against latency; the area of a circle is the weights' size."""
    name = document["headline"]
    latency = _latency(document)
    known = {role: figure for role, figure in _figures(document, name).items() if latency.get(role)}
    if len(known) < 2:
        return None
    canvas = Canvas(WIDTH, 300, f"{title(name)} against latency")
    x = Axis(*padded_log([latency[role] for role in known], 2.4), 52, WIDTH - 12, logarithmic=True)
    top = document["scales"].get(name, 1)
    low, high = padded([figure["value"] for figure in known.values()], 0.25)
    y = Axis(max(-0.1 * top, low), min(top * 1.1, high), 252, 14)  # room for a circle at 0 and at the top
    grid_x(canvas, x, 14, 252, _round_time)
    grid_y(canvas, y, 52, WIDTH - 12, lambda value: f"{value:g}" if top == 100 else f"{100 * value:g} %")
    canvas.text((52 + WIDTH) / 2, 292, "median latency of one request (logarithmic)", "axis", "middle")
    canvas.text(56, 10, f"↑ {inline(name)}", "axis")
    weights = {role: document["contenders"][role].get("weight_bytes") for role in known}
    largest = max((value for value in weights.values() if value), default=1)
    radii = {
        role: max(5.0, 26 * ((weight or 0) / largest) ** 0.5) if weight else 7.0 for role, weight in weights.items()
    }
    centres = {role: (x(latency[role]), y(figure["value"])) for role, figure in known.items()}
    taken = [_box(*centres[role], 2 * radii[role], 2 * radii[role]) for role in known]
    for role in sorted(known, key=lambda role: -radii[role]):
        tip = f"{ROLE_NAMES[role]}: {amount(name, known[role]['value'])}, {milliseconds(latency[role])}"
        canvas.circle(*centres[role], radii[role], f"bubble {role}", tip)
        weight = weights[role]
        label = f"{SHORT_NAMES[role]}, {size(weight)}" if weight else SHORT_NAMES[role]
        taken.append(_beside(canvas, centres[role], radii[role], label, taken))
    caption = "Up and to the left is better; the area of a circle is the size of the weights, where it is known."
    return Chart("Quality, latency and size", caption, canvas)


def latencies(document: Mapping[str, Any]) -> Chart | None:
    """Every timed request of every local contender."""
    samples = {
        role: contender["latency_ms"]["samples"]
        for role, contender in document["contenders"].items()
        if contender.get("latency_ms", {}).get("samples")
    }
    if not samples:
        return None
    height = 44 * len(samples) + 44
    canvas = Canvas(WIDTH, height, "Latency of single requests")
    low, high = padded_log([value for values in samples.values() for value in values], 1.25)
    axis = Axis(low, high, 96, WIDTH - 66, logarithmic=True)
    grid_x(canvas, axis, 8, height - 30, _round_time)
    for place, (role, values) in enumerate(samples.items()):
        y = 32 + 44 * place
        median = document["contenders"][role]["latency_ms"]["p50"]
        canvas.text(0, y + 4, SHORT_NAMES[role], "name")
        for index, value in enumerate(values):
            canvas.circle(axis(value), y + (index * 7) % 15 - 7, 3, f"dot {role}", milliseconds(value))
        canvas.line(axis(median), y - 14, axis(median), y + 14, f"median {role}")
        canvas.text(WIDTH, y + 4, milliseconds(median), "number", "end")
    caption = "One dot a request, the bar is the median; in process, one request at a time, logarithmic."
    return Chart("Latency", caption, canvas)


def loss_curve(training: Mapping[str, Any]) -> Chart | None:
    """The student's training loss by step, lightly smoothed."""
    points = [
        (float(point["step"]), float(point["loss"]))
        for point in training.get("loss") or ()
        if isinstance(point, dict) and point.get("step") is not None and point.get("loss") is not None
    ]
    if len(points) < 2:
        return None
    span = (0.0, 1.05 * max(loss for _, loss in points))
    canvas, x, y = _by_time("Training loss of the student", points, span, "optimiser step")
    canvas.path([(x(step), y(loss)) for step, loss in points], "curve faint")
    canvas.path([(x(step), y(loss)) for step, loss in _smooth(points)], "curve student")
    return Chart("Training loss", "The student's loss by step; the strong line is a running mean.", canvas)


def validation_curve(training: Mapping[str, Any]) -> Chart | None:
    """The student's figure on the validation rows after each epoch, and the epoch that was kept."""
    history = [point for point in training.get("validation") or () if isinstance(point, dict)]
    name = next((key for point in history for key in point if key != "epoch"), "")
    points = [(float(point["epoch"]), float(point[name])) for point in history if "epoch" in point and name in point]
    if len(points) < 2:
        return None
    canvas, x, y = _by_time(f"Validation {name} by epoch", points, padded([value for _, value in points]), "epoch")
    canvas.path([(x(epoch), y(value)) for epoch, value in points], "curve student")
    for epoch, value in points:
        kept = epoch == training.get("best_epoch")
        canvas.circle(x(epoch), y(value), 6 if kept else 3, "student", f"epoch {epoch:g}: {value:.4g}")
    caption = (
        "The student's figure on the validation rows after each epoch; the large point is the epoch that was kept."
    )
    return Chart(f"Validation: {name.replace('_', ' ')}", caption, canvas)


def _by_time(
    label: str, points: Sequence[tuple[float, float]], span: tuple[float, float], unit: str
) -> tuple[Canvas, Axis, Axis]:
    """A canvas with its axes for values by step or epoch."""
    canvas = Canvas(WIDTH, 260, label)
    x, y = Axis(points[0][0], points[-1][0], 48, WIDTH - 10), Axis(*span, 216, 10)
    grid_y(canvas, y, 48, WIDTH - 10, lambda value: f"{value:g}")
    for tick in x.ticks(5):
        if tick == round(tick):
            canvas.text(x(tick), 233, f"{tick:g}", "tick", "middle")
    canvas.text((48 + WIDTH) / 2, 254, unit, "axis", "middle")
    return canvas, x, y


def _smooth(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    reach = max(1, len(points) // 40)
    losses = [loss for _, loss in points]
    windows = [losses[max(0, i - reach) : i + reach + 1] for i in range(len(points))]
    return [(step, sum(window) / len(window)) for (step, _), window in zip(points, windows, strict=True)]


def _figures(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = {role: contender["metrics"].get(name) for role, contender in document["contenders"].items()}
    return {role: figure for role, figure in found.items() if figure}


def _latency(document: Mapping[str, Any]) -> dict[str, float]:
    return {
        role: contender["latency_ms"]["p50"]
        for role, contender in document["contenders"].items()
        if (contender.get("latency_ms") or {}).get("p50")
    }


def _beside(canvas: Canvas, centre: tuple[float, float], radius: float, label: str, taken: Sequence[Box]) -> Box:
    """Write a label beside its circle where it covers none of `taken`, if there is such a place; returns its box."""
    (x, y), half, gap = centre, 3.9 * len(label), radius + 6  # letters are larger on a phone
    sides = [(x + side * gap, y + down, side) for down in (0, 16, -16, 30, -30) for side in (1, -1)]
    places = [*sides[:2], (x, y - gap - 4, 0), (x, y + gap + 4, 0), *sides[2:]]
    boxes = {place: _box(place[0] + place[2] * half, place[1], 2 * half, 13) for place in places}
    inside = {place: box for place, box in boxes.items() if box[0] > 0 and box[2] < canvas.width} or boxes
    best = min(
        inside, key=lambda place: sum(_overlap(inside[place], other) for other in taken)
    )  # the first of the best
    canvas.text(best[0], best[1] + 4, label, "name", {1: "start", -1: "end", 0: "middle"}[best[2]])
    return inside[best]


def _box(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _round_time(value: float) -> str:
    return f"{value / 1000:g} s" if value >= 1000 else f"{value:g} ms"
