"""Faults on demand: what a test wants to go wrong, and how often."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import Literal

Action = Literal["answer", "drop", "lose", "delay"]


@dataclass
class Fault:
    """One thing that goes wrong for the next `left` calls that match."""

    action: Action
    method: str
    path: re.Pattern[str]
    left: int
    status: int = 0
    code: str = ""
    retry_after: float | None = None
    seconds: float = 0.0


class Faults:
    """The faults to come.  `method` may be "*"; `path` is a regular expression searched in `HOST/PATH`."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.done = 0
        """How many faults have happened."""

    def answer(
        self, method: str, path: str, status: int, *, times: int = 1, code: str = "", retry_after: float | None = None
    ) -> None:
        """Answer with `status` (and `Retry-After`) without doing anything."""
        self._add(Fault("answer", method, re.compile(path), times, status, code or f"Http{status}", retry_after))

    def drop(self, method: str, path: str, *, times: int = 1) -> None:
        """Close the connection without doing anything."""
        self._add(Fault("drop", method, re.compile(path), times))

    def lose(self, method: str, path: str, *, times: int = 1) -> None:
        """Do what was asked, then close the connection without an answer."""
        self._add(Fault("lose", method, re.compile(path), times))

    def delay(self, method: str, path: str, seconds: float, *, times: int = 1) -> None:
        """Answer late."""
        self._add(Fault("delay", method, re.compile(path), times, seconds=seconds))

    def expire_tokens(self, method: str, path: str, *, times: int = 1) -> None:
        """Refuse a token as one that has expired meanwhile."""
        self.answer(method, path, 401, times=times, code="ExpiredAuthenticationToken")

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()
            self.done = 0

    def take(self, method: str, address: str) -> Fault | None:
        """The fault that befalls this call, if any; counts it."""
        with self._lock:
            for fault in self._faults:
                if fault.left > 0 and fault.method in ("*", method) and fault.path.search(address):
                    fault.left -= 1
                    self.done += 1
                    return fault
        return None

    def _add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)
