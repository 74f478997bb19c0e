"""Progress of long work as plain lines that a person can read and a terminal client can turn into a bar.

progress: 640/1900 rows · 12.1 rows/s · ETA 1:44 · loss 0.31
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

PREFIX = "progress: "


class Progress:
    """Counts units of work and prints a line every `interval` seconds and one at the end."""

    def __init__(
        self, total: int, unit: str, interval: float = 2.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total, self.unit, self.interval, self.clock = total, unit, interval, clock
        self.done = 0
        self.facts: dict[str, object] = {}
        self.started = self.printed = clock()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.print()

    def advance(self, count: int = 1, **facts: object) -> None:
        """Add `count` units; `facts` (loss=0.31, tokens_per_s=900) stand at the end of the line until replaced."""
        self.done += count
        self.facts.update(facts)
        if self.clock() - self.printed >= self.interval:
            self.print()

    def print(self) -> None:
        self.printed = self.clock()
        print(PREFIX + self.line(), flush=True)

    def line(self) -> str:
        elapsed = self.clock() - self.started
        parts = [f"{self.done}/{self.total} {self.unit}"]
        if self.done and elapsed > 0:
            rate = self.done / elapsed
            parts.append(f"{rate:.1f} {self.unit}/s")
            if self.done < self.total:
                parts.append(f"ETA {minutes((self.total - self.done) / rate)}")
        return " · ".join(parts + [f"{name.replace('_', ' ')} {_short(value)}" for name, value in self.facts.items()])


def minutes(seconds: float) -> str:
    """Seconds as `m:ss` or `h:mm:ss`."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
