"""A run's events as they come, read from its files: it does not matter which process runs it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from azure_distill.backend import NOT_STARTED, TERMINAL, Event
from azure_distill.local.files import plain
from azure_distill.local.paths import RunPaths
from azure_distill.local.runs import RunStore

POLL = 0.1
CHUNK = 1 << 20


class Follower:
    """Where one reader stands in the logs and states of a run."""

    def __init__(self, runs: RunStore, paths: RunPaths) -> None:
        self.runs, self.paths = runs, paths
        self.stamps = dict[str, tuple[int, int]]()
        self.offsets = dict[str, int]()
        self.rests = dict[str, bytes]()

    def events(self) -> Iterator[Event]:
        """Until the run has ended.  Each line of a log comes once; a step's last lines come before its end."""
        while True:
            state = self.runs.state(self.paths)  # before the steps: what ended before this is seen whole below
            for name in state["steps"]:
                yield from self._step(str(name))
            if state["status"] in TERMINAL:
                return
            time.sleep(POLL)

    def _step(self, name: str) -> Iterator[Event]:
        stamp = self._stamp(name)
        status = self.runs.step(self.paths, name).status if stamp != self.stamps.get(name) else NOT_STARTED
        changed, ended = status != NOT_STARTED, status in TERMINAL
        if changed and not ended:
            yield Event(name)
        for line in self._lines(name, last=ended):
            yield Event(name, line)
        if ended:
            yield Event(name)
        self.stamps[name] = stamp

    def _stamp(self, name: str) -> tuple[int, int]:
        try:
            status = self.paths.step(name).state.stat()
        except OSError:
            return (0, 0)
        return (status.st_mtime_ns, status.st_ino)

    def _lines(self, name: str, last: bool) -> Iterator[str]:
        """The lines that are new since the last look; with `last` also one without an end."""
        rest = self.rests.pop(name, b"")
        with contextlib.suppress(OSError), self.paths.step(name).log.open("rb") as log:
            log.seek(self.offsets.get(name, 0))
            while data := log.read(CHUNK):
                *lines, rest = (rest + data).split(b"\n")
                self.offsets[name] = log.tell()
                for line in lines:
                    yield plain(line)
        if last and rest:
            yield plain(rest)
        elif rest:
            self.rests[name] = rest
