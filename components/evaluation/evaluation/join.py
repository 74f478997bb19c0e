"""Rows and answers together: one pass over the held-out rows that writes predictions.jsonl and keeps the numbers."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.examples import Examples
from evaluation.further import FURTHER, Calibration, row_vectors
from evaluation.heldout import HeldOut
from evaluation.metrics import Array, Metric, named_label
from shared.rows import Row, write_jsonl
from shared.tasks import Task

OTHER = "(other)"  # an answer that is none of the labels

Answers = Mapping[str, dict[str, Any] | None]
AnswerOf = Mapping[str, Iterator[dict[str, Any] | None]]


class Column:
    """One vector a row, kept flat; a row without a score is a vector of zeros."""

    def __init__(self) -> None:
        self.flat, self.widths = array("d"), array("I")

    def append(self, vector: Sequence[float]) -> None:
        self.flat.extend(vector)
        self.widths.append(len(vector))

    def matrix(self) -> Array:
        """[rows, width]; shorter vectors are filled with zeros."""
        matrix = np.zeros((len(self.widths), max(self.widths, default=0) or 1))
        start = 0
        for row, width in enumerate(self.widths):
            matrix[row, :width] = self.flat[start : start + width]
            start += width
        return matrix


@dataclass
class Joined:
    """What the pass kept.  `columns` are by role, then metric, a vector for every row.

    `further` (figures of `evaluation.further`, by role, then name) holds vectors of the rows that have one.

    `confusion` counts (target, answer) by role; `examples` are some of the rows on which student and teacher differ,
    `differing` counts all of them by kind.
    """

    basis: str
    columns: dict[str, dict[str, Column]]
    confusion: dict[str, Counter[tuple[str, str]]]
    further: dict[str, dict[str, Column]] = field(default_factory=dict)
    calibration: dict[str, Calibration] = field(default_factory=dict)
    answered: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)
    differing: Counter[str] = field(default_factory=Counter)
    judgement: dict[str, Any] | None = None


def join(
    test: HeldOut,
    answers: AnswerOf,
    task: Task,
    metrics: Mapping[str, Metric],
    headline: str,
    seed: int,
    predictions: Path,
) -> Joined:
    """Score every answer of every contender; `answers` yield one item a row, None where there is none.

    The target is the reference.  Where no row has one it is the teacher's answer (`basis` "teacher").
    """
    basis = "reference" if test.references else "teacher"
    scored = [role for role in answers if not (basis == "teacher" and role == "teacher")]
    joined = Joined(
        basis,
        columns={role: {name: Column() for name in metrics} for role in scored},
        confusion={role: Counter() for role in scored},
        further={role: {name: Column() for name in FURTHER} for role in answers},
        calibration={role: Calibration() for role in answers},
    )
    examples = Examples(seed, metrics[headline])
    write_jsonl(predictions, _rows(test, answers, task, metrics, joined, examples))
    joined.examples, joined.differing = examples.chosen(), examples.seen
    return joined


def _rows(
    test: HeldOut,
    answers: AnswerOf,
    task: Task,
    metrics: Mapping[str, Metric],
    joined: Joined,
    examples: Examples,
) -> Iterator[dict[str, Any]]:
    for row in test:
        given = {role: next(source) for role, source in answers.items()}
        texts = {role: answer["answer"] if answer else None for role, answer in given.items()}
        candidates = task.candidates(row.prompt)
        target = row.reference if joined.basis == "reference" else texts.get("teacher")
        for role, text in texts.items():
            joined.answered[role] += text is not None
            _score(joined, role, text, target, candidates, task, metrics)
        correct = {
            role: task.is_correct(text, target, candidates)
            if text is not None and target is not None and role in joined.columns
            else None
            for role, text in texts.items()
        }
        _score_further(joined, row, given, correct, task)
        examples.offer(row, texts, correct, target, candidates)
        yield _prediction(row, texts, correct, given.get("student"))


def _score(
    joined: Joined,
    role: str,
    text: str | None,
    target: str | None,
    candidates: Sequence[str],
    task: Task,
    metrics: Mapping[str, Metric],
) -> None:
    if role not in joined.columns:
        return
    known = text is not None and target is not None
    for name, column in joined.columns[role].items():
        column.append(metrics[name].row(text, target, candidates) if known else [])  # type: ignore[arg-type]
    if known and candidates:
        said = named_label(task, text, candidates)  # type: ignore[arg-type]
        joined.confusion[role][target, said or OTHER] += 1  # type: ignore[index]


def _score_further(joined: Joined, row: Row, given: Answers, correct: Mapping[str, bool | None], task: Task) -> None:
    for role, answer in given.items():
        if answer is None:
            continue
        columns = joined.further[role]
        teacher = given.get("teacher") if role != "teacher" else None
        if teacher:
            same = task.is_correct(answer["answer"], teacher["answer"], task.candidates(row.prompt))
            columns["agreement"].append([1.0, float(same)])
        for name, vector in row_vectors(answer, teacher, row.extra.get("facts", ())):
            columns[name].append(vector)
        right = correct[role]
        if answer.get("probabilities") and right is not None:
            joined.calibration[role].add(max(answer["probabilities"].values()), right)


def _prediction(
    row: Row, texts: Mapping[str, str | None], correct: Mapping[str, bool | None], student: dict[str, Any] | None
) -> dict[str, Any]:
    value = {"id": row.id, "reference": row.reference, "answers": dict(texts), "correct": dict(correct)}
    shares = (student or {}).get("probabilities")
    return value | ({"probabilities": {label: round(share, 6) for label, share in shares.items()}} if shares else {})
