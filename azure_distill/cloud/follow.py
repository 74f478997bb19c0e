"""A run's events as they come: each poll asks for the steps' states and for the new bytes of running steps' logs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from azure_distill.backend import NOT_STARTED, QUEUED, TERMINAL, Event, told_progress
from azure_distill.cloud.history import History
from azure_distill.cloud.logs import StepLog
from azure_distill.cloud.runs import Child, by_step

SHORTEST, LONGEST, GROWTH = 1.0, 4.0, 1.3  # seconds between polls: while something happens, at most, factor


class Follower:
    """Where one reader stands in a run; `progress` holds each step's last progress line."""

    def __init__(self, history: History, run: str, status: Callable[[], str], progress: dict[str, str]) -> None:
        self._history, self._run, self._status, self._progress = history, run, status, progress
        self._known = dict[str, tuple[str, str]]()
        self._logs = dict[str, StepLog]()

    def events(self) -> Iterator[Event]:
        """Until the run has ended.  Each line of a log comes once; a step's last lines come before its end."""
        pause = SHORTEST
        while True:
            status = self._status()  # before the steps: what ended before this is seen whole below
            events = 0
            for event in self._steps():
                events += 1
                yield event
            if status in TERMINAL:
                return
            pause = SHORTEST if events else min(LONGEST, pause * GROWTH)
            time.sleep(pause)

    def _steps(self) -> Iterator[Event]:
        for name, child in by_step(self._history.children(self._run)).items():
            before = self._known.get(name)
            if before == (child.id, child.status) and child.status in TERMINAL:
                continue
            if before is None or before[0] != child.id:
                self._logs[name] = StepLog(self._history)
            yield from self._step(name, child, changed=before != (child.id, child.status))
            self._known[name] = (child.id, child.status)

    def _step(self, name: str, child: Child, changed: bool) -> Iterator[Event]:
        ended = child.status in TERMINAL
        if changed and not ended and child.status != NOT_STARTED:
            yield Event(name)
        if child.status not in (NOT_STARTED, QUEUED) and not child.reused:
            for line in self._logs[name].new_lines(self._history.details(child.id), last=ended):
                if progress := told_progress(line):
                    self._progress[name] = progress
                yield Event(name, line)
        if ended:
            yield Event(name)
