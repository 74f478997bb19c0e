"""Of several answers to one row, those that the student shall learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.rows import Row
from shared.tasks import Extracted, LabelTask, Rejected, Task
from shared.tasks.text import Math
from teacher_inference.settings import Selection
from teacher_inference.teacher import Answer, Question


@dataclass(frozen=True)
class Usable:
    """An answer that passed the task's check."""

    answer: Answer
    extracted: Extracted
    agreement: float | None = None


@dataclass(frozen=True)
class Policy:
    """How often a question is asked, and which of the answers are kept.

    `majority` keeps the earliest of the answers that most others agree with, as equal as the task knows (labels;
    mathematical equality); `gold` the earliest train answer that agrees with the row's reference, `majority` where
    there is none; `all` every different answer of a train row.  Each useless answer is followed by another sample, at
    most `re_asks` times a question.
    """

    samples: int = 1
    selection: Selection = "majority"
    re_asks: int = 1

    @staticmethod
    def of(task: Task, samples: int, selection: Selection | None, re_asks: int) -> Policy:
        comparable = isinstance(task, LabelTask | Math)
        return Policy(samples, selection or ("majority" if comparable else "all"), re_asks)

    def count(self, split: str) -> int:
        """Samples of a row: held-out rows get one answer, by a vote where train rows do."""
        return self.samples if split == "train" or self.selection == "majority" else 1

    def select(self, task: Task, split: str, row: Row, question: Question, found: Sequence[Usable]) -> list[Usable]:
        """At least one of `found`, which is not empty; raises Rejected when none is good enough."""
        if self.selection == "all":
            return _different(found) if split == "train" else [found[0]]
        if self.selection == "gold" and split == "train" and row.reference is not None:
            right = [one for one in found if task.is_correct(one.extracted.answer, row.reference, question.candidates)]
            if not right:
                raise Rejected("no answer agrees with the reference")
            return [replace(right[0], agreement=_share(len(right), len(found)))]
        return [_majority(task, question, found)]


def _majority(task: Task, question: Question, found: Sequence[Usable]) -> Usable:
    classes: list[list[Usable]] = []
    for one in found:
        equal = (
            group
            for group in classes
            if task.is_correct(one.extracted.answer, group[0].extracted.answer, question.candidates)
        )
        group = next(equal, None)
        if group is None:
            classes.append([one])
        else:
            group.append(one)
    largest = max(classes, key=len)  # the earliest of equally large ones
    return replace(largest[0], agreement=_share(len(largest), len(found)))


def _different(found: Sequence[Usable]) -> list[Usable]:
    first: dict[str, Usable] = {}
    for one in found:
        first.setdefault(one.extracted.answer, one)
    return list(first.values())


def _share(some: int, all_: int) -> float | None:
    return round(some / all_, 4) if all_ > 1 else None
