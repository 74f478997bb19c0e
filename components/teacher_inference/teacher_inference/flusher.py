"""Waits for the disk.  An answer counts when it is there, and not before.

No request waits for that, so answers are let gather for a moment: a flush, with the thread it wakes, costs as much time
of the processor as an answer does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from teacher_inference.teacher import Answer, Ask, Sink

PAUSE = 0.01  # seconds before a flush
Pending = tuple[tuple[Ask, Answer], asyncio.Future[None]]


class Flusher:
    """All answers that were written before a flush, and while the disk was busy with the one before, share it."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1)
        self._pending: list[Pending] = []
        self._busy = False

    async def flushed(self, ask: Ask, answer: Answer) -> None:
        """Returns when an answer that was written is on disk and counted."""
        on_disk: asyncio.Future[None] = self._loop.create_future()
        self._pending.append(((ask, answer), on_disk))
        self._flush_soon()
        await on_disk

    async def close(self) -> None:
        """Returns when everything is on disk."""
        while self._busy:
            await asyncio.sleep(0.001)
        self._thread.shutdown()

    def _flush_soon(self) -> None:
        if self._pending and not self._busy:
            self._busy = True
            self._loop.call_later(PAUSE, self._flush)

    def _flush(self) -> None:
        group, self._pending = self._pending, []
        flush = self._loop.run_in_executor(self._thread, self.sink.sync)
        flush.add_done_callback(lambda flush: self._done(group, flush.exception()))

    def _done(self, group: Sequence[Pending], error: BaseException | None) -> None:
        self._busy = False
        try:
            if error is None:
                self.sink.count([answer for answer, _ in group])
        except Exception as raised:
            error = raised
        for _, on_disk in group:
            if on_disk.done():  # cancelled: nobody waits any more
                continue
            if error is None:
                on_disk.set_result(None)
            else:
                on_disk.set_exception(error)
        self._flush_soon()
