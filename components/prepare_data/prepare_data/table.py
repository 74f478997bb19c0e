"""All rows of a run in little memory: a few numbers a row here, the rows themselves in a file."""

from __future__ import annotations

import hashlib
import json
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from prepare_data.shingles import Shingles
from shared.errors import InvalidInput, Problem
from shared.rows import Message, Row

CHARACTERS_PER_TOKEN = 4


class Source(IntEnum):
    """The user's files, in the order in which they are read and in which a row may claim a prompt."""

    TEST = 0
    VALIDATION = 1
    GOLD = 2
    TRAINING = 3

    @property
    def argument(self) -> str:
        return f"{self.name.lower()}_data"


class Table:
    """Columns of numbers, one place a row, and the rows as JSON lines in an unnamed temporary file.

    keys        64 bits of the hash of the prompt; its 16 hexadecimal digits are the row's id by default
    answers     64 bits of the hash of the reference; 0 where there is none
    labels      the reference's place in `label_names`; -1 where there is none
    tokens      estimated length of the conversation
    """

    def __init__(self, max_tokens: int | None, with_labels: bool, with_shingles: bool) -> None:
        self.max_tokens, self.with_labels, self.with_shingles = max_tokens, with_labels, with_shingles
        self.sources, self.lines = array("b"), array("q")
        self.keys, self.answers = array("Q"), array("Q")
        self.labels, self.tokens = array("i"), array("q")
        self.label_names: dict[str, int] = {}
        self.shingles = Shingles()
        self._given_ids: dict[int, str] = {}
        self._id_lines: dict[tuple[Source, str], int] = {}
        self._spool: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  (closed by __exit__)

    def __len__(self) -> int:
        return len(self.keys)

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def add(self, row: Row, source: Source, line: int) -> None:
        """Take in a checked row; raises InvalidInput where its id was there before or its text cannot be written."""
        if row.id and self._id_lines.setdefault((source, row.id), line) != line:
            raise InvalidInput(Problem(f"is the id of line {self._id_lines[source, row.id]} too", field="id"))
        try:
            key = _hash(_prompt_text(row.prompt))
            value = row.to_json() | {"id": row.id or f"{key:016x}"}
            self._spool.write(json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        except UnicodeEncodeError:
            raise InvalidInput(Problem("holds half of a surrogate pair", field=_broken_field(row))) from None
        except RecursionError:
            raise InvalidInput("is nested too deeply") from None
        except ValueError:
            raise InvalidInput("holds a number that is infinite or not a number") from None
        self._append(row, key, source, line)

    def _append(self, row: Row, key: int, source: Source, line: int) -> None:
        if row.id:
            self._given_ids[len(self)] = row.id
        self.sources.append(source)
        self.lines.append(line)
        self.keys.append(key)
        self.answers.append(0 if row.reference is None else _hash(_folded(row.reference)) or 1)
        label = -1
        if self.with_labels and row.reference is not None:
            label = self.label_names.setdefault(row.reference, len(self.label_names))
        self.labels.append(label)
        characters = sum(len(message["content"]) for message in row.prompt) + len(row.reference or "")
        self.tokens.append(-(-characters // CHARACTERS_PER_TOKEN))
        compared = self.with_shingles and not self.overlong(len(self) - 1)
        self.shingles.add(" \n ".join(message["content"] for message in row.prompt) if compared else "")

    def label_ranks(self) -> NDArray[np.int64]:
        """The label of each row by its place among the sorted names, whatever the order of the rows; -1 for none."""
        names = sorted(self.label_names)
        ranks = np.array([*(names.index(name) for name in self.label_names), -1], np.int64)
        return ranks[np.array(self.labels, np.int64)]

    def overlong(self, row: int) -> bool:
        return self.max_tokens is not None and self.tokens[row] > self.max_tokens

    def id(self, row: int) -> str:
        return self._given_ids.get(row) or f"{self.keys[row]:016x}"

    def json_lines(self) -> Iterator[bytes]:
        """The prepared rows, in the order of the table."""
        self._spool.seek(0)
        return iter(self._spool)


def _broken_field(row: Row) -> str | None:
    """The message whose text cannot be written as UTF-8, unless that is in another field."""
    contents = [*(message["content"] for message in row.prompt), row.reference or ""]
    broken = (place for place, content in enumerate(contents) if content != content.encode(errors="replace").decode())
    return next((f"messages[{place}].content" for place in broken), None)


def _prompt_text(prompt: Sequence[Message]) -> str:
    # white space folded, the separators cannot stand inside: str.split takes them for white space
    return "\x1e".join(f"{message['role']}\x1f{_folded(message['content'])}" for message in prompt)


def _folded(text: str) -> str:
    return " ".join(text.split())


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
