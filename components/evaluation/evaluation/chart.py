"""What every chart of the report is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evaluation.svg import Axis, Canvas

WIDTH = 460


@dataclass(frozen=True)
class Chart:
    """A drawing with its heading and one line that says how to read it."""

    heading: str
    caption: str
    drawing: Canvas


def grid_x(canvas: Canvas, axis: Axis, top: float, bottom: float, label: Any) -> None:
    """Vertical lines at the axis' ticks, with `label(tick)` under them."""
    for tick in axis.ticks(4):
        canvas.line(axis(tick), top, axis(tick), bottom, "grid")
        canvas.text(axis(tick), bottom + 16, label(tick), "tick", "middle")


def grid_y(canvas: Canvas, axis: Axis, left: float, right: float, label: Any) -> None:
    """Horizontal lines at the axis' ticks, with `label(tick)` before them."""
    for tick in axis.ticks(4):
        canvas.line(left, axis(tick), right, axis(tick), "grid")
        canvas.text(left - 6, axis(tick) + 4, label(tick), "tick", "end")
