"""Physical lines of a text file that may be anything: a picture, UTF-16, one endless line."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader, FileIO
from pathlib import Path

from prepare_data.problems import Problems
from shared.errors import Problem

MAX_LINE = 16 * 2**20
HEAD = 2**16
BINARY = "is a binary file, not text: it holds a NUL byte"
UTF8_BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


def read_lines(path: Path, problems: Problems) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, bytes with their line end).

    A line that is too long becomes a problem instead; a file that is not text becomes one problem and ends.
    """
    with BufferedReader(FileIO(path), HEAD) as file:
        head = file.peek(HEAD)
        flaw = binary_flaw(head)
        if flaw:
            line = head.partition(b"\0")[0].count(b"\n") + 1
            problems.add(Problem(flaw, str(path), line, hint="save it as UTF-8 text"))
            return
        if head.startswith(UTF8_BOM):
            file.read(len(UTF8_BOM))
        number = 0
        while data := file.readline(MAX_LINE + 1):
            number += 1
            if len(data) > MAX_LINE:
                while data and not data.endswith(b"\n"):
                    data = file.readline(MAX_LINE)
                problems.add(Problem(f"is longer than {MAX_LINE // 2**20} MiB", str(path), number))
            elif b"\0" in data:
                problems.add(Problem(BINARY, str(path), number, hint="reading stopped here"))
                return
            else:
                yield number, data


def binary_flaw(head: bytes) -> str | None:
    """Why a file that begins with `head` is no UTF-8 text; None where it may be."""
    if head.startswith(UTF16_BOMS):
        return "is UTF-16, not UTF-8"
    if b"\0" not in head:
        return None
    if max(head[::2].count(0), head[1::2].count(0)) > 0.4 * len(head):
        return "is UTF-16, not UTF-8"
    return BINARY
