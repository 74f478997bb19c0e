"""Waits for the disk.  An answer counts when it is there, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from teacher_inference.teacher import Answer, Ask, Sink

Pending = tuple[tuple[Ask, Answer], asyncio.Future[None]]


class Flusher:
    """All answers that were written while the disk was busy share one flush."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1)
        self._pending: list[Pending] = []
        self._busy: asyncio.Future[None] | None = None

    async def flushed(self, ask: Ask, answer: Answer) -> None:
        """Returns when an answer that was written is on disk and counted."""
        on_disk: asyncio.Future[None] = self._loop.create_future()
        self._pending.append(((ask, answer), on_disk))
        if not self._busy:
            self._flush()
        await on_disk

    async def close(self) -> None:
        """Returns when everything is on disk."""
        while self._busy:
            await asyncio.sleep(0.001)
        self._thread.shutdown()

    def _flush(self) -> None:
        group, self._pending = self._pending, []
        self._busy = self._loop.run_in_executor(self._thread, self.sink.sync)
        self._busy.add_done_callback(lambda flush: self._done(group, flush.exception()))

    def _done(self, group: Sequence[Pending], error: BaseException | None) -> None:
        self._busy = None
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
        if self._pending:
            self._flush()
