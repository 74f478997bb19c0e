"""Where a secret may have leaked to on this machine: command lines of all processes while they ran, and files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

PAUSE = 0.1  # seconds between two looks; each component's program runs longer than that


class CommandLines:
    """Looks at every process of the machine, again and again, for as long as it is entered."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.leaks: set[bytes] = set()
        self.lines: set[bytes] = set()
        """Every command line that there was, to know that the watch was one."""

    def __enter__(self) -> CommandLines:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(PAUSE):
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = process.read_bytes()
                except OSError:  # it has ended
                    continue
                self.lines.add(line)
                if self._secret in line:
                    self.leaks.add(line)


def files_with(secret: str, *folders: Path) -> Iterator[Path]:
    """Every file below the folders that holds the secret in its name or its bytes."""
    for folder in folders:
        for path in folder.rglob("*"):
            if secret in path.name or (path.is_file() and secret.encode() in path.read_bytes()):
                yield path
