"""Which rows a teacher is asked, and how: the task's instruction, solved examples, the row's own messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from shared.examples import shown
from shared.rows import SPLITS, Row, read_rows
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

    def count(self, split: str) -> int:
        """How many rows of a split the teacher is asked; of splits that are asked whole, lines are counted."""
        path = self.data / f"{split}.jsonl"
        if split == "validation" or not path.exists():
            return sum(is_asked(split, row) for row in self.rows(split))
        with path.open("rb") as lines:
            return sum(1 for _ in lines)

    def question(self, row: Row) -> Question:
        """The row's question; the row itself is never among its examples."""
        messages = self.task.teacher_messages(row.prompt, shown(self.examples, row, self.few_shot))
        return Question(messages, self.task.candidates(row.prompt), self.task.reasoning_instruction() is not None)


def is_asked(split: str, row: Row) -> bool:
    return split != "validation" or row.reference is None
