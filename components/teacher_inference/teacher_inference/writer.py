"""Puts answers on disk from inside an event loop, many with one flush."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from teacher_inference.teacher import Answer, Ask, Sink

Pending = tuple[tuple[Ask, Answer], asyncio.Future[None]]


class Writer:
    """All answers that arrive in one turn of the loop share one write, all written while the disk was busy one flush.

    What is written outlives this process, though only what is flushed outlives the machine: `written` is called for
    each answer at the first of the two, and it is counted at the second.
    """

    def __init__(self, sink: Sink, written: Callable[[], None]) -> None:
        self.sink, self.written = sink, written
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1)
        self._arrived: list[Pending] = []
        self._unflushed: list[Pending] = []
        self._flushing: asyncio.Future[None] | None = None

    async def write(self, ask: Ask, answer: Answer) -> None:
        """Returns when the answer is on disk."""
        on_disk: asyncio.Future[None] = self._loop.create_future()
        self._arrived.append(((ask, answer), on_disk))
        if len(self._arrived) == 1:
            self._loop.call_soon(self._write)
        await on_disk

    async def close(self) -> None:
        """Returns when everything is on disk."""
        while self._arrived or self._flushing:
            await asyncio.sleep(0.001)
        self._thread.shutdown()

    def _write(self) -> None:
        group, self._arrived = self._arrived, []
        try:
            self.sink.write([answer for answer, _ in group])
        except Exception as error:
            self._settle(group, error)
            return
        for _ in group:
            self.written()
        self._unflushed += group
        if not self._flushing:
            self._flush()

    def _flush(self) -> None:
        group, self._unflushed = self._unflushed, []
        self._flushing = self._loop.run_in_executor(self._thread, self.sink.sync)
        self._flushing.add_done_callback(lambda flushed: self._flushed(group, flushed.exception()))

    def _flushed(self, group: Sequence[Pending], error: BaseException | None) -> None:
        self._flushing = None
        try:
            if error is None:
                self.sink.count([answer for answer, _ in group])
        except Exception as raised:
            error = raised
        self._settle(group, error)
        if self._unflushed:
            self._flush()

    def _settle(self, group: Sequence[Pending], error: BaseException | None) -> None:
        for _, on_disk in group:
            if on_disk.done():  # cancelled: nobody waits any more
                continue
            if error is None:
                on_disk.set_result(None)
            else:
                on_disk.set_exception(error)
