"""Following a run: how soon a change is seen, and how seldom a quiet run is asked about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from azure_distill.cloud.follow import Follower


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeps = 0

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.sleeps += 1


class Quiet:
    """Run history of one step that starts and ends at given seconds and writes nothing."""

    def __init__(self, clock: Clock, starts: float, ends: float) -> None:
        self.clock, self.starts, self.ends = clock, starts, ends

    @property
    def status(self) -> str:
        return "Queued" if self.clock.now < self.starts else "Running" if self.clock.now < self.ends else "Completed"

    def children(self, run: str) -> Iterator[dict[str, Any]]:
        yield {"runId": f"{run}-1", "displayName": "step", "status": self.status}

    def details(self, run: str) -> dict[str, Any]:
        return {}


@given(st.floats(0, 300), st.floats(0, 300))
def test_a_change_is_seen_within_five_seconds(starts: float, lasts: float) -> None:
    clock = Clock()
    history: Any = Quiet(clock, starts, starts + lasts)
    with patch("azure_distill.cloud.follow.time.sleep", clock.sleep):
        seen = [clock.now for _ in Follower(history, "run", lambda: history.status, {}).events()]
    assert seen[-1] - history.ends < 5
    if lasts > 5:
        assert any(0 <= moment - starts < 5 for moment in seen)
    assert clock.sleeps < 12 + (starts + lasts) / 3.9
