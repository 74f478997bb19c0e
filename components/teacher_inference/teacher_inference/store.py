"""Every answer ever bought, on disk by request.

A store is a folder with one file a teacher: append-only JSON lines `{"key": …, "answer": {…}}`.  Several processes may
append to the same file (a lock on it serialises them); a record that a killed process left half written is skipped and
never joined to the next one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from shared.fast_json import decode, encode
from teacher_inference.teacher import Answer


class Store:
    """The answers of one teacher.  In memory are only the keys and where each answer lies."""

    def __init__(self, folder: Path, name: str, origin: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{slug(name)}-{hashlib.sha256(origin.encode()).hexdigest()[:12]}.jsonl"
        self._file = self.path.open("ab+", buffering=0)  # what is written outlives the process at once
        self._whole = 0  # a size at which the file is known to end with a whole record
        self._places: dict[bytes, tuple[int, int]] = {}
        with self.path.open("rb") as records:
            for key, start, length in scan(records):
                self._places.setdefault(bytes.fromhex(key), (start, length))

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self._places

    def get(self, key: str) -> Answer | None:
        """The answer kept under `key`; the first one where it was bought twice."""
        place = self._places.get(bytes.fromhex(key))
        if place is None:
            return None
        return Answer.from_json(decode(self._read(*place))["answer"])

    def append(self, answers: Sequence[tuple[str, Answer]]) -> None:
        """Add answers in one write; they outlive this process now, and the machine after `sync`."""
        lines = [record(key, answer) for key, answer in answers]
        fcntl.flock(self._file, fcntl.LOCK_EX)  # the system's own lock, for it is taken with every write
        try:
            place = self._end()
            self._write(b"".join(lines))
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        for (key, _), line in zip(answers, lines, strict=True):
            self._places.setdefault(bytes.fromhex(key), (place, len(line)))
            place += len(line)
        self._whole = place

    def sync(self) -> None:
        """Wait until all that was added is on disk.  May run beside `append` in another thread."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def _read(self, start: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, start)

    def _write(self, data: bytes) -> None:
        """All of it, or as much as a full disk takes before it raises OSError."""
        while data:
            data = data[self._file.write(data) :]

    def _end(self) -> int:
        """Where the next record begins; a torn last record is closed by a newline first."""
        end = os.fstat(self._file.fileno()).st_size
        if end not in (0, self._whole) and self._read(end - 1, 1) != b"\n":
            self._write(b"\n")
            end += 1
        return end


def record(key: str, answer: Answer) -> bytes:
    """One line."""
    return encode({"key": key, "answer": answer.to_json()}) + b"\n"


def scan(file: BinaryIO) -> Iterator[tuple[str, int, int]]:
    """(key, start, length) of every whole record; whatever else is in the file is skipped."""
    start = 0
    for line in file:
        key = _key(line)
        if key is not None:
            yield key, start, len(line)
        start += len(line)


def slug(name: str) -> str:
    """A file name's part out of any text."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:60] or "teacher"


def _key(line: bytes) -> str | None:
    if not line.endswith(b"}\n"):
        return None
    try:
        found = decode(line)
        bytes.fromhex(found["key"])
        Answer.from_json(found["answer"])
        return str(found["key"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
