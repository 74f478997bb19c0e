"""Puts answers on disk from inside an event loop, many with one flush."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from teacher_inference.teacher import Answer, Ask, Sink

SLOW = 0.002  # seconds; a disk whose flush takes longer is waited for in a thread

Pending = tuple[tuple[Ask, Answer], asyncio.Future[None]]


class Writer:
    """All answers that arrive in one turn of the loop, or while the disk is busy, share one write and one flush.

    On a fast disk a flush is shorter than the way to a thread and back; on a slow one the loop goes on meanwhile.
    """

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1)
        self._pending: list[Pending] = []
        self._busy = False
        self._seconds = 0.0  # that the last flush took

    async def write(self, ask: Ask, answer: Answer) -> None:
        """Returns when the answer is on disk."""
        written: asyncio.Future[None] = self._loop.create_future()
        self._pending.append(((ask, answer), written))
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._flush)
        await written

    async def close(self) -> None:
        """Returns when everything is on disk."""
        while self._busy:
            await asyncio.sleep(0.001)
        self._thread.shutdown()

    def _flush(self) -> None:
        group, self._pending = self._pending, []
        try:
            self.sink.write([answer for answer, _ in group])
            if self._seconds > SLOW:
                flushed = self._loop.run_in_executor(self._thread, self._sync)
                flushed.add_done_callback(lambda done: self._done(group, done.exception()))
                return
            self._sync()
        except Exception as error:
            self._done(group, error)
        else:
            self._done(group, None)

    def _sync(self) -> None:
        started = time.perf_counter()
        self.sink.sync()
        self._seconds = time.perf_counter() - started

    def _done(self, group: Sequence[Pending], error: BaseException | None) -> None:
        if error is None:
            self.sink.count([answer for answer, _ in group])
        for _, written in group:
            if written.done():  # cancelled: nobody waits any more
                continue
            if error is None:
                written.set_result(None)
            else:
                written.set_exception(error)
        self._busy = bool(self._pending)
        if self._busy:
            self._loop.call_soon(self._flush)
