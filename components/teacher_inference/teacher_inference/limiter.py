"""How many requests may be in flight, and how fast new ones may start.

The real limit of an endpoint is found as TCP finds a link's: up by two for each answer until the first "too many
requests", then down to three quarters of what was in flight, once for each burst, and up again by one for as many
answers as the limit is wide.  Where the last "too many" was met, it waits longer before it looks again, and if that was
one too many again, no more than this one is taken back, and the next look is put off for twice as long.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

FIRST_LIMIT = 8
FIRST_GROWTH = 2.0  # for each answer before the first refusal: threefold with every round of answers
DECREASE = 0.75
PROBE = 8  # times as many answers before the limit is tried that was one too many the last time
MOST_PROBE = 64  # times, when it was one too many again and again
LEAST_PROBE = 100  # answers, for small limits
ROUNDING = 1e-6  # seconds, more than clock readings lose when they are added up


class Window:
    """Additive increase, multiplicative decrease.  A ticket is the generation in which a request was admitted.

    A burst of refusals comes from requests admitted before the limit was cut; only a refusal of a ticket of the
    current generation cuts it again.
    """

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.limit = float(min(FIRST_LIMIT, ceiling))
        self.active = 0
        self.generation = 0
        self.answered = False  # whether any request of this generation was
        self.known = ceiling  # one less than what was refused last
        self.probe = PROBE

    @property
    def free(self) -> bool:
        return self.active < int(self.limit)

    def admit(self) -> int:
        self.active += 1
        return self.generation

    def answer(self, ticket: int) -> None:
        """A request got through: widen the window where it was used to the full."""
        if self.active >= int(self.limit):
            self.limit = min(float(self.ceiling), self.limit + self._step())
        self.answered |= ticket == self.generation
        self.active -= 1

    def leave(self) -> None:
        """A request ended in a way that says nothing of the limit."""
        self.active -= 1

    def refuse(self, ticket: int) -> bool:
        """A request was refused as one too many.

        True when nothing at all gets through: the refusal is not of a burst that a cut has answered already, and no
        request came through since the last cut.
        """
        closed = ticket == self.generation and not self.answered
        if ticket == self.generation:
            used = int(min(self.limit, self.active))
            probed = used == self.known + 1
            self.probe = min(MOST_PROBE, 2 * self.probe) if probed else PROBE
            self.known = max(1, used - 1)
            self.limit = float(self.known if probed else max(1, int(used * DECREASE)))
            self.generation += 1
            self.answered = False
        self.active -= 1
        return closed

    def _step(self) -> float:
        if self.generation == 0:
            return FIRST_GROWTH
        wide = int(self.limit)
        return 1.0 / (max(self.probe * wide, LEAST_PROBE) if wide == self.known else wide)


class Pace:
    """At most `per_minute` units in any 60 seconds, evenly spread.

    A start may be `SLACK` seconds late without losing its turn; the rate is lowered by as much, so the ceiling holds
    exactly for units of one.  A request of many units may exceed it by its own size, once.
    """

    SLACK = 0.1

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds_per_unit = (60 + self.SLACK + ROUNDING) / per_minute
        self.clock = clock
        self.next = clock()

    def delay(self) -> float:
        """Seconds until the next start."""
        return max(0.0, self.next - self.clock())

    def charge(self, units: float) -> None:
        """Count units that start now; negative where a request used less than it was charged."""
        earliest = self.clock() - self.SLACK if units > 0 else -float("inf")
        self.next = max(self.next, earliest) + units * self.seconds_per_unit


class Limiter:
    """Hands out the right to send, in the order of asking."""

    def __init__(self, window: Window, requests: Pace | None = None, tokens: Pace | None = None) -> None:
        self.window, self.requests, self.tokens = window, requests, tokens
        self._paces = [pace for pace in (requests, tokens) if pace]
        self.closed_until = 0.0
        self.closures = 0  # times that nothing at all got through, since the last answer
        self._waiting: deque[tuple[asyncio.Future[int], int]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def acquire(self, tokens: int) -> int:
        """Wait for a place; returns the ticket that the outcome is reported with."""
        if not self._waiting and self.window.free and self._delay() <= 0:
            return self._admit(tokens)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((future, tokens))
        self._grant()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.window.leave()
            raise

    def answered(self, ticket: int, charged: int, used: int) -> None:
        if self.tokens and used:
            self.tokens.charge(used - charged)
        self.closures = 0
        self.window.answer(ticket)
        self._grant()

    def failed(self) -> None:
        self.window.leave()
        self._grant()

    def throttled(self, ticket: int, wait: float) -> None:
        """The endpoint refused; when it lets nothing through, nobody sends for `wait` seconds."""
        if self.window.refuse(ticket):
            self.closures += 1
            self.closed_until = max(self.closed_until, time.monotonic() + wait)
        self._grant()

    def _grant(self) -> None:
        while self._waiting and self.window.free:
            delay = self._delay()
            if delay > 0:
                self._later(delay)
                return
            future, tokens = self._waiting.popleft()
            if future.done():  # its task was cancelled while it waited
                continue
            future.set_result(self._admit(tokens))

    def _admit(self, tokens: int) -> int:
        if self.requests:
            self.requests.charge(1)
        if self.tokens:
            self.tokens.charge(tokens)
        return self.window.admit()

    def _delay(self) -> float:
        return max(0.0, self.closed_until - time.monotonic(), *(pace.delay() for pace in self._paces))

    def _later(self, delay: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay, self._grant)
