"""A few rows on which student and teacher differ, for people to read."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.metrics import Metric
from shared.rows import Row

EXAMPLES = 20
WRONG = "student wrong"  # the kind of a row without an answer of a teacher

Texts = Mapping[str, str | None]
Marks = Mapping[str, float | None]


class Examples:
    """A few rows of each kind of difference between student and teacher, drawn evenly (reservoir sampling).

    Where answers are right or wrong, who is right makes the kind; of texts, whose is nearer to the reference by
    `metric`.  Without a teacher the student's mistakes are the examples.  `seen` counts all such rows by kind.
    """

    def __init__(self, seed: int, metric: Metric) -> None:
        self.random, self.metric = random.Random(seed), metric
        self.kinds: dict[str, list[dict[str, Any]]] = {}
        self.seen: Counter[str] = Counter()

    def offer(
        self, row: Row, texts: Texts, correct: Mapping[str, bool | None], target: str | None, candidates: Sequence[str]
    ) -> None:
        student, teacher = texts.get("student"), texts.get("teacher")
        if student is None or student == teacher:
            return
        graded = not candidates and not self.metric.proportion
        marks = self._grades(texts, correct, target) if graded else correct
        if teacher is None:
            kind = None if marks["student"] in (None, 1) else WRONG
        else:
            kind = _kind(marks["student"], marks["teacher"], graded)
        if kind is None:
            return
        self.seen[kind] += 1
        kept = self.kinds.setdefault(kind, [])
        place = len(kept) if len(kept) < EXAMPLES else self.random.randrange(self.seen[kind])
        if place < EXAMPLES:
            marked = {"answers": dict(texts), "marks": dict(marks), "graded": graded}
            example = {"id": row.id, "kind": kind, "prompt": row.prompt, "reference": row.reference, **marked}
            kept[place : place + 1] = [example]

    def _grades(self, texts: Texts, correct: Mapping[str, bool | None], target: str | None) -> Marks:
        return {
            role: None
            if text is None or target is None or correct[role] is None
            else float(self.metric.value(np.array(self.metric.row(text, target, ()))))
            for role, text in texts.items()
        }

    def chosen(self) -> list[dict[str, Any]]:
        """At most 20, as many of each kind as there are and fit."""
        kinds = self.kinds.values()
        turns = [example for turn in range(EXAMPLES) for kept in kinds for example in kept[turn : turn + 1]]
        return turns[:EXAMPLES]


def _kind(student: float | None, teacher: float | None, graded: bool) -> str:
    if student is None or teacher is None:
        return "no reference"
    if not graded:
        return {
            (True, False): "only the student right",
            (False, True): "only the teacher right",
            (False, False): "both wrong",
            (True, True): "both right",
        }[bool(student), bool(teacher)]
    if student == teacher:
        return "equally near to the reference"
    return f"{'student' if student > teacher else 'teacher'} nearer to the reference"
