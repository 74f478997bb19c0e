"""Many questions in flight at once, each until it is answered, is hopeless, or the run stops.

There are no batches: a worker sends its next question at once when its last one is settled, and while it waits to try
again it holds no place of the limiter, and another worker is hired.  A place is given back when the answer is written,
so a killed process loses the requests in flight and no other; that what is written is on disk, too, is not waited for.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from teacher_inference.flusher import Flusher
from teacher_inference.health import PATIENCE, Health
from teacher_inference.limiter import Limiter
from teacher_inference.outcome import Failed, Outcome, Retry
from teacher_inference.retry import Backoff
from teacher_inference.teacher import Answer, Ask, Asks, Sink
from teacher_inference.usage import Meter

SILENCE = 10.0  # seconds without an answer, after which the progress line says so
GRACE = 5.0  # seconds that requests in flight get when a run stops; a stopped step is killed after ten


@dataclass
class Engine:
    """Runs samples of questions through `send`, which returns what came of one request and raises what ends the run.

    `tokens` estimates how many tokens a question uses, for the limiter.  A question that got "too many requests" as
    often as a question may fail, over `patience` seconds, while others may have been answered, asks for too much.
    """

    send: Callable[[Ask], Awaitable[Outcome]]
    tokens: Callable[[Ask], int]
    limiter: Limiter
    health: Health
    meter: Meter
    sink: Sink
    backoff: Backoff = field(default_factory=Backoff)
    grace: float = GRACE
    patience: float = PATIENCE

    def __post_init__(self) -> None:
        self._workers: set[asyncio.Task[None]] = set()
        self._sending: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self.meter.limit = int(self.limiter.window.limit)

    async def run(self, asks: Asks) -> None:
        """Settle all questions.  When the run ends early, what is in flight is waited for and kept."""
        loop = asyncio.get_running_loop()
        self._asks, self._flusher, self._answered = asks, Flusher(self.sink), time.monotonic()
        self._ended: asyncio.Future[BaseException | None] = loop.create_future()
        stopped: asyncio.Future[BaseException] = loop.create_future()
        for _ in range(self.limiter.window.ceiling):
            self._hire()
        watch = asyncio.create_task(self._watch())
        with Signals(stopped):
            either: list[asyncio.Future[Any]] = [self._ended, stopped]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            error = stopped.result() if stopped.done() else self._ended.result()
            if error is not None:
                await self._drain(stopped)
            await self._flusher.close()
        watch.cancel()
        if error is not None:
            raise error
        self.health.known(self.meter.stored)
        self.health.finish()

    async def _watch(self) -> None:
        """Have the progress line tell when nothing is answered."""
        while True:
            await asyncio.sleep(SILENCE)
            silent = time.monotonic() - self._answered
            if self._sending and silent >= SILENCE:
                self.meter.waiting = f"{silent:.0f} s for {len(self._sending)}"
                self.sink.count(())

    def _hire(self) -> None:
        """One worker more, unless three of four wait to try again."""
        if len(self._workers) < 4 * self.limiter.window.ceiling:
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._left)

    def _left(self, worker: asyncio.Task[None]) -> None:
        """The run ends with the last worker, or with one that failed."""
        self._workers.discard(worker)
        error = None if worker.cancelled() else worker.exception()
        if (error or not self._workers) and not self._ended.done():
            self._ended.set_result(error)

    async def _drain(self, stopped: asyncio.Future[BaseException]) -> None:
        """Let the requests in flight end, and nothing new begin.

        They are paid for and waited for, as long as a request may take; after a signal for `grace` seconds.
        """
        self._stopping = True
        workers = list(self._workers)
        for worker in workers:
            if worker not in self._sending:
                worker.cancel()
        if self._sending and not stopped.done():
            print(f"stopping when {len(self._sending)} requests in flight have ended", flush=True)
        ended: asyncio.Future[Any] = asyncio.gather(*workers, return_exceptions=True)
        await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait([ended], timeout=self.grace)
        for worker in workers:
            worker.cancel()
        await ended

    async def _work(self) -> None:
        while not self._stopping:
            ask = self._asks.take()
            if ask is not None:
                await self._settle(ask)
            elif not await self._flusher.settled():  # an answer that is counted may bring another question
                return

    async def _settle(self, ask: Ask) -> None:
        failures = throttles = 0
        throttled_since = 0.0
        while not self._stopping:
            outcome = await self._send(ask)
            if outcome is None:
                return
            if isinstance(outcome, Answer):
                self.health.answer()
                return
            if isinstance(outcome, Failed):
                self._give_up(ask, outcome.reason, reached=True)
                return
            if outcome.throttled:
                throttles += 1
                throttled_since = throttled_since or time.monotonic()
            else:
                failures += not outcome.adapted
            if failures == self.backoff.attempts:
                self._give_up(ask, f"{outcome.reason} in {failures} attempts", outcome.reached)
                return
            if throttles >= self.backoff.attempts and time.monotonic() - throttled_since > self.patience:
                self._give_up(ask, f"{outcome.reason} for {self.patience / 60:.0f} min", reached=True)
                return
            await self._wait(outcome, failures + throttles)

    async def _wait(self, outcome: Retry, failures: int) -> None:
        if outcome.adapted:
            return
        if outcome.throttled:
            self.health.throttled()
        elif not outcome.reached:
            self.health.unreached(outcome.reason)
        self.meter.retries += 1
        self.sink.count(())  # the progress line tells of retries, too
        if not self._stopping:
            self._hire()
            await asyncio.sleep(self.backoff.wait(max(1, failures), outcome.wait))

    async def _send(self, ask: Ask) -> Outcome | None:
        """Ask in a place of the limiter, and write what is answered.  None when the run has stopped."""
        task = asyncio.current_task()
        assert task
        tokens = self.tokens(ask)
        ticket = await self.limiter.acquire(tokens)
        self._sending.add(task)
        outcome: Outcome | None = None
        try:
            if self._stopping:
                return None
            outcome = await self.send(ask)
            if isinstance(outcome, Answer):
                self.sink.write([(ask, outcome)])
                self._flusher.add(ask, outcome)
                self._answered, self.meter.waiting = time.monotonic(), ""
            return outcome
        except Exception:
            self._stopping = True  # before the place goes to the next
            raise
        finally:
            self._sending.discard(task)
            self._release(ticket, tokens, outcome)

    def _release(self, ticket: int, tokens: int, outcome: Outcome | None) -> None:
        if isinstance(outcome, Answer):
            self.limiter.answered(ticket, tokens, outcome.prompt_tokens + outcome.completion_tokens)
        elif isinstance(outcome, Retry) and outcome.throttled:
            self.meter.throttled += 1
            self.limiter.throttled(ticket, self.backoff.wait(1 + self.limiter.closures, outcome.wait))
        else:
            self.limiter.failed()
        self.meter.limit = int(self.limiter.window.limit)

    def _give_up(self, ask: Ask, reason: str, reached: bool) -> None:
        self.health.known(self.meter.stored)
        self.health.failure(reason, reached, len(self._sending))
        self.sink.fail(ask, reason)


class Signals:
    """Turns SIGTERM and SIGINT into the end of a run that first drains; elsewhere than in the main thread, nothing."""

    def __init__(self, stopped: asyncio.Future[BaseException]) -> None:
        self.stopped = stopped
        self.loop = asyncio.get_running_loop()
        self.before: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self.before[number] = signal.signal(number, self._received)

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _received(self, number: int, frame: FrameType | None) -> None:
        self.loop.call_soon_threadsafe(self._stop, number)

    def _stop(self, number: int) -> None:
        if not self.stopped.done():
            self.stopped.set_result(SystemExit(128 + number))
