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


class Flusher:
    """All answers that were written before a flush, and while the disk was busy with the one before, share it."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1)
        self._pending: list[tuple[Ask, Answer]] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self._error: BaseException | None = None

    def add(self, ask: Ask, answer: Answer) -> None:
        """Have an answer that was written flushed, and then counted; raises what went wrong with an earlier one."""
        self._check()
        self._pending.append((ask, answer))
        if self._idle.is_set():
            self._idle.clear()
            self._loop.call_later(PAUSE, self._flush)

    async def settled(self) -> bool:
        """Returns when everything is on disk and counted; False where nothing had to be waited for."""
        waited = not self._idle.is_set()
        await self._idle.wait()
        self._check()
        return waited

    async def close(self) -> None:
        """Returns when everything is on disk, or cannot be."""
        await self._idle.wait()
        self._thread.shutdown()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _flush(self) -> None:
        group, self._pending = self._pending, []
        flush = self._loop.run_in_executor(self._thread, self.sink.sync)
        flush.add_done_callback(lambda flush: self._done(group, flush.exception()))

    def _done(self, group: Sequence[tuple[Ask, Answer]], error: BaseException | None) -> None:
        try:
            if error is None:
                self.sink.count(group)
        except Exception as raised:
            error = raised
        self._error = error
        if self._pending and error is None:
            self._loop.call_later(PAUSE, self._flush)
        else:
            self._idle.set()
