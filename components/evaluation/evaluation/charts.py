"""The charts of the report.  Contenders differ by colour, by place and by name, never by colour alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.chart import WIDTH, Chart, grid_x, grid_y
from evaluation.label_charts import confusion, label_bars, reliability
from evaluation.svg import Axis, Canvas, padded, padded_log
from evaluation.wording import ROLE_NAMES, SHORT_NAMES, amount, milliseconds, size, title


def all_charts(document: Mapping[str, Any], training: Mapping[str, Any]) -> list[Chart]:
    """Every chart there is data for."""
    drawn = [
        intervals(document),
        trade_off(document),
        latencies(document),
        label_bars(document),
        confusion(document),
        reliability(document),
        loss_curve(training),
        validation_curve(training),
    ]
    return [chart for chart in drawn if chart]


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
    axis = Axis(max(0.0, low), min(float(top), high), 96, WIDTH - 52)
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
    y = Axis(max(0.0, low), min(float(top) * 1.04, high), 252, 14)
    grid_x(canvas, x, 14, 252, _round_time)
    grid_y(canvas, y, 52, WIDTH - 12, lambda value: f"{value:g}" if top == 100 else f"{100 * value:g} %")
    canvas.text((52 + WIDTH) / 2, 292, "median latency of one request (logarithmic)", "axis", "middle")
    weights = {role: document["contenders"][role].get("weight_bytes") for role in known}
    largest = max((value for value in weights.values() if value), default=1)
    taken: list[tuple[float, float]] = []
    for role, figure in sorted(known.items(), key=lambda item: -item[1]["value"]):
        radius = max(5.0, 26 * (weights[role] / largest) ** 0.5) if weights[role] else 7.0
        tip = f"{ROLE_NAMES[role]}: {amount(name, figure['value'])}, {milliseconds(latency[role])}"
        centre = (x(latency[role]), y(figure["value"]))
        canvas.circle(*centre, radius, f"bubble {role}", tip)
        sized = f"{SHORT_NAMES[role]}, {size(weights[role])}" if weights[role] else SHORT_NAMES[role]
        _beside(canvas, centre, radius, sized, taken)
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


def _beside(
    canvas: Canvas, centre: tuple[float, float], radius: float, label: str, taken: list[tuple[float, float]]
) -> None:
    """A label right of its circle, or left of it where the drawing ends; lower where one of `taken` is in the way."""
    x, y = centre
    while any(abs(x - other_x) < 6.2 * len(label) and abs(y - other_y) < 13 for other_x, other_y in taken):
        y += 2
    taken.append((x, y))
    if x + radius + 6.2 * len(label) > canvas.width:
        canvas.text(x - radius - 5, y + 4, label, "name", "end")
    else:
        canvas.text(x + radius + 5, y + 4, label, "name")


def _round_time(value: float) -> str:
    return f"{value / 1000:g} s" if value >= 1000 else f"{value:g} ms"
