"""The held-out rows and the teacher's stored answers to them, checked before anything is measured."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import InvalidInput, NotFound, Problem
from shared.rows import Row, read_rows
from shared.tasks.base import squash


@dataclass(frozen=True)
class HeldOut:
    """test.jsonl: `rows` of them, `references` of which have one; `digest` is the file's SHA-256."""

    path: Path
    rows: int
    references: int
    digest: str

    def __iter__(self) -> Iterator[Row]:
        return read_rows(self.path)


def inspect(data: Path) -> HeldOut:
    """Check `data/test.jsonl`; raises InvalidInput when rows are missing, doubled or leaked from train.jsonl."""
    path, train = data / "test.jsonl", data / "train.jsonl"
    if not path.is_file():
        raise NotFound(Problem("there are no held-out rows", str(path)))
    trained, learnt = set[str](), set[bytes]()
    for row in read_rows(train) if train.is_file() else ():
        trained.add(row.id)
        learnt.add(_question(row))
    seen: set[str] = set()
    problems, references = [], 0
    for line, row in enumerate(read_rows(path), 1):
        if row.id in seen:
            problems.append(Problem(f"the id {row.id!r} stands twice", str(path), line))
        if row.id in trained:
            problems.append(Problem(f"the row {row.id!r} is in train.jsonl too", str(path), line, hint="it has leaked"))
        elif _question(row) in learnt:
            what = f"the question of the row {row.id!r} is in train.jsonl too, under another id"
            problems.append(Problem(what, str(path), line, hint="it has leaked"))
        seen.add(row.id)
        references += row.reference is not None
        facts = row.extra.get("facts", [])
        if not isinstance(facts, list) or not all(isinstance(fact, str) and fact.strip() for fact in facts):
            problems.append(Problem("must be a list of texts", str(path), line, field="facts"))
    if not seen:
        problems.append(Problem("has no rows", str(path)))
    if problems:
        raise InvalidInput(*problems)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return HeldOut(path, len(seen), references, digest)


def _question(row: Row) -> bytes:
    """What a row asks, whatever its case and white space, as a digest."""
    turns = [[turn["role"], squash(turn["content"])] for turn in row.prompt]
    return hashlib.blake2b(json.dumps(turns).encode(), digest_size=16).digest()


@dataclass(frozen=True)
class TeacherAnswers:
    """The stored answers to held-out rows by id; `rejected` answers were no valid ones and are not among them.

    An answer is `{"answer"}`, with `probabilities` over the row's candidates where they are known.
    """

    by_id: dict[str, dict[str, Any]]
    rejected: int
    usage: dict[str, Any]


def stored_answers(responses: Path, test: HeldOut) -> TeacherAnswers:
    """Read what teacher_inference left; raises InvalidInput when it belongs to other rows."""
    wanted = {row.id for row in test}
    path = responses / "test.jsonl"
    rows = read_rows(path) if path.is_file() else iter(())
    given = {row.id: _stored(row) for row in rows if row.answer is not None}
    by_id = {key: answer for key, answer in given.items() if key in wanted}
    if given and not by_id:
        raise InvalidInput(Problem("holds none of the held-out rows", str(path), hint="they come from other data"))
    rejected = sum(value.get("split") == "test" for value in _json_lines(responses / "rejected.jsonl"))
    return TeacherAnswers(by_id, rejected, read_json(responses / "usage.json"))


def _stored(row: Row) -> dict[str, Any]:
    known = row.label_logprobs
    shares = {label: math.exp(value) for label, value in known.items()} if known else None
    return {"answer": row.answer, "probabilities": shares}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object that another component left, {} where it did not."""
    value = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return value if isinstance(value, dict) else {}


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        with path.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)
