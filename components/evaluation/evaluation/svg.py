"""Just enough SVG for the report's charts: shapes that are styled by class, axes, and text that is always escaped."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

Scale = Callable[[float], float]


class Canvas:
    """A drawing of fixed inner size that the page scales to its column."""

    def __init__(self, width: float, height: float, label: str) -> None:
        self.width, self.height, self.label = width, height, label
        self.parts: list[str] = []

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
        self._add("line", style, x1=x1, y1=y1, x2=x2, y2=y2)

    def circle(self, x: float, y: float, radius: float, style: str, tip: str = "") -> None:
        self._add("circle", style, tip, cx=x, cy=y, r=radius)

    def rect(self, x: float, y: float, width: float, height: float, style: str, tip: str = "", **more: float) -> None:
        self._add("rect", style, tip, x=x, y=y, width=max(0.0, width), height=max(0.0, height), **more)

    def path(self, points: Sequence[tuple[float, float]], style: str) -> None:
        if points:
            drawn = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            self.parts.append(f'<path class="{style}" d="M{drawn}"/>')

    def text(self, x: float, y: float, content: str, style: str = "", anchor: str = "start") -> None:
        self.parts.append(
            f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'
        )

    def __html__(self) -> str:
        """The drawing as HTML: what an autoescaping template inserts as it is."""
        return (
            f'<svg viewBox="0 0 {self.width:g} {self.height:g}" role="img" aria-label="{escape(self.label)}">'
            + "".join(self.parts)
            + "</svg>"
        )

    def _add(self, tag: str, style: str, tip: str = "", **numbers: float) -> None:
        shape = " ".join(f'{name.replace("_", "-")}="{value:.2f}"' for name, value in numbers.items())
        title = f"<title>{escape(tip)}</title>" if tip else ""
        self.parts.append(f'<{tag} class="{style}" {shape}>{title}</{tag}>')


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` over pixels from `start` to `end`, evenly or by powers of ten."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high = self._bend(self.low), self._bend(self.high)
        share = (self._bend(value) - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values inside the axis."""
        return self._powers() if self.logarithmic else linear_ticks(self.low, self.high, about)

    def _bend(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value

    def _powers(self) -> list[float]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        few = [10.0**decade for decade in decades]
        many = [factor * power for power in few for factor in (1, 2, 5)]
        sparse, dense = ([tick for tick in ticks if self.low <= tick <= self.high] for ticks in (few, many))
        return dense if len(dense) < 5 else sparse


def linear_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """About `about` round values between `low` and `high`."""
    if high <= low:
        return [low]
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def padded(values: Sequence[float], share: float = 0.08) -> tuple[float, float]:
    """(low, high) around `values` with a margin."""
    low, high = min(values), max(values)
    margin = share * (high - low) or share * abs(high) or share
    return low - margin, high + margin


def padded_log(values: Sequence[float], factor: float = 1.6) -> tuple[float, float]:
    """(low, high) around positive `values` with a margin on a logarithmic axis."""
    return min(values) / factor, max(values) * factor
