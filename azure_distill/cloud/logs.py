"""Steps' logs: which of a run's files they are, and their new lines only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from azure_distill.cloud.history import History

STD_LOG = "user_logs/std_log"
OLD_LOG = "azureml-logs/70_driver_log"


class StepLog:
    """The log of one step as far as it has been read; of several machines, that of the first."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._offset = 0
        self._rest = b""

    def new_lines(self, details: Mapping[str, Any], last: bool) -> Iterator[str]:
        """The lines that came since the last call; with `last` also one without an end."""
        url = log_link(details)
        data = self._history.read_log(url, self._offset) if url else None
        if data:
            self._offset += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            yield from (_plain(line) for line in lines)
        if last and self._rest:
            yield _plain(self._rest)
            self._rest = b""


def log_link(details: Mapping[str, Any]) -> str | None:
    """The link to the log that the step's command wrote."""
    files = details.get("logFiles") or {}
    for kind in (STD_LOG, OLD_LOG):
        if names := sorted(name for name in files if name.startswith(kind)):
            return str(files[names[0]])
    return None


def whole_log(history: History, details: Mapping[str, Any]) -> str:
    """All of a step's log so far; empty when it has none."""
    url = log_link(details)
    data = history.read_log(url, 0) if url else None
    return (data or b"").decode("utf-8", errors="replace")


def _plain(line: bytes) -> str:
    """Of what a progress bar wrote over itself, the last state."""
    return line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", errors="replace")
