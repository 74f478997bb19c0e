"""Which rows a teacher is asked, and how: the task's instruction, solved examples, the row's own messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from shared.examples import shown
from shared.rows import SPLITS, Row, read_rows
from shared.tasks import LabelTask, Task
from teacher_inference.teacher import Question


class Questions:
    """The rows of prepared data as questions.

    Every train and test row is asked; a validation row only where it has no reference, for truth beats the teacher.
    """

    def __init__(self, data: Path, task: Task, examples: Sequence[Row] = (), few_shot: int = 0) -> None:
        self.data, self.task, self.examples, self.few_shot = data, task, examples, few_shot
        self.probable = isinstance(task, LabelTask) and not task.settings.chain_of_thought

    def rows(self, split: str) -> Iterator[Row]:
        path = self.data / f"{split}.jsonl"
        return read_rows(path) if path.exists() else iter(())

    def asked(self) -> Iterator[Row]:
        """All rows that the teacher is asked, train rows first."""
        return (row for split in SPLITS for row in self.rows(split) if is_asked(split, row))

    def question(self, row: Row) -> Question:
        """The row's question; the row itself is never among its examples."""
        candidates = self.task.candidates(row.prompt) if self.probable else ()
        examples = shown(self.examples, row, self.few_shot)
        return Question(self.task.teacher_messages(row.prompt, examples), candidates)


def is_asked(split: str, row: Row) -> bool:
    return split != "validation" or row.reference is None
