"""Which rows a teacher is asked, and how: the task's instruction, solved examples, the row's own messages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from pathlib import Path

from shared.errors import InvalidInput, Problem
from shared.rows import SPLITS, Row, read_rows, read_split
from shared.tasks import Task
from teacher_inference.teacher import Question


class Questions:
    """The rows of prepared data as questions.

    Every train and test row is asked; a validation row only where it has no reference, for truth beats the teacher.
    """

    def __init__(self, data: Path, task: Task, examples: Sequence[Row] = (), few_shot: int = 0) -> None:
        self.data, self.task, self.examples, self.few_shot = data, task, examples, few_shot

    def rows(self, split: str) -> Iterator[Row]:
        path = self.data / f"{split}.jsonl"
        return read_rows(path) if path.exists() else iter(())

    def asked(self) -> Iterator[tuple[str, Row]]:
        """All rows that the teacher is asked, with their split, train rows first."""
        return ((split, row) for split in SPLITS for row in self.rows(split) if is_asked(split, row))

    def question(self, row: Row) -> Question:
        """The row's question; the row itself is never among its examples."""
        others = (example for example in self.examples if example.id != row.id and example.prompt != row.prompt)
        shown = [example for example, _ in zip(others, range(self.few_shot), strict=False)]
        messages = self.task.teacher_messages(row.prompt, shown)
        return Question(messages, self.task.candidates(row.prompt), self.task.reasoning_instruction() is not None)


def is_asked(split: str, row: Row) -> bool:
    return split != "validation" or row.reference is None


def read_examples(gold: Path | None, few_shot: int) -> list[Row]:
    """`few_shot` + 1 gold rows (one may turn out to be the row asked), spread evenly over the references' values.

    The choice depends on the rows alone, not on their order.
    """
    if not few_shot:
        return []
    rows = [row for row in read_split(gold, "train") if row.reference is not None] if gold else []
    if not rows:
        raise InvalidInput(Problem("needs gold rows to show, and there are none", field="sampling.few_shot"))
    rows.sort(key=lambda row: hashlib.sha256(row.id.encode()).digest())
    return balanced(rows)[: few_shot + 1]


def balanced(rows: Sequence[Row]) -> list[Row]:
    """All rows, taking one of each reference in turn."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.reference or "", []).append(row)
    turns = zip_longest(*(groups[name] for name in sorted(groups)))
    return [row for row in chain.from_iterable(turns) if row is not None]
