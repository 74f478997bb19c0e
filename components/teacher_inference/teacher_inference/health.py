"""When a run is hopeless and ends early, with everything bought so far kept."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable

from shared.errors import ServiceUnavailable

RECENT = 100
ENOUGH = 20
UNREACHED = 12.0  # seconds of trying to reach an endpoint that has never been reached
PATIENCE = 900.0  # seconds without one answer, while the endpoint says "too many requests"


class Health:
    """The share of requests that got an answer: over the recent ones while running, over all at the end."""

    def __init__(self, url: str, min_ratio: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.url, self.min_ratio, self.clock = url, min_ratio, clock
        self.recent: deque[bool] = deque(maxlen=RECENT)
        self.answered = self.asked = self.stored = 0
        self.reasons: Counter[str] = Counter()
        self.reached = False
        self.started = self.last_answer = clock()

    def answer(self) -> None:
        self.reached = True
        self.last_answer = self.clock()
        self._count(True)

    def known(self, stored: int) -> None:
        """So many of this run's answers were bought by earlier runs: the endpoint did give them."""
        self.recent.extend([True] * min(stored - self.stored, RECENT))
        self.stored = stored

    def failure(self, reason: str, reached: bool, in_flight: int = 0) -> None:
        """A request that got no answer in all its attempts; raises ServiceUnavailable when there is no hope.

        What is `in_flight` may be answered yet: a refusal is quicker than an answer.
        """
        self.reached |= reached
        self.reasons[reason] += 1
        if not self.reached:
            raise ServiceUnavailable(f"cannot reach {self.url}: {reason}")
        self._count(False)
        answered, asked = sum(self.recent), len(self.recent)
        if asked >= ENOUGH and answered + in_flight < self.min_ratio * (asked + in_flight):
            self._give_up(answered, asked, "recent ")

    def unreached(self, reason: str) -> None:
        """A connection that did not come about."""
        if not self.reached and self.clock() - self.started > UNREACHED:
            raise ServiceUnavailable(f"cannot reach {self.url}: {reason}")

    def throttled(self) -> None:
        self.reached = True
        if self.clock() - self.last_answer > PATIENCE:
            raise ServiceUnavailable(f"{self.url} answered nothing but 'too many requests' for {PATIENCE / 60:.0f} min")

    def finish(self) -> None:
        """Judge the whole run."""
        answered, asked = self.answered + self.stored, self.asked + self.stored
        if self.asked and answered < self.min_ratio * asked:
            self._give_up(answered, asked, "")

    def _count(self, answered: bool) -> None:
        self.asked += 1
        self.answered += answered
        self.recent.append(answered)

    def _give_up(self, answered: int, asked: int, which: str) -> None:
        reasons = ", ".join(f"{count} × {reason}" for reason, count in self.reasons.most_common(5))
        raise ServiceUnavailable(
            f"{self.url} answered {answered} of {asked} {which}requests, "
            f"less than min_endpoint_success_ratio {self.min_ratio:g}: {reasons}; all answers are kept"
        )
