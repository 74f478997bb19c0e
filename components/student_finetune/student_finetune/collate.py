"""From examples to one batch of tensors.

A row of a batch is its prompt, followed by *branches*: the answer, then each candidate.  A branch sees the prompt and
itself only and counts positions on from the prompt, so one pass gives the log probabilities of all of them.  The last
token of a branch predicts nothing and is not fed.  Rows are padded on the right, where causal attention never looks.

    kept              [P]     flat positions (row * width + column) whose logits are needed
    answer_at         [A]     index into `kept` of the position that predicts each answer token
    answer_tokens     [A]     the answer tokens, the end of turn among them
    answer_has_teacher [A]    whether the token's row has teacher probabilities
    candidate_at      [C]     as answer_at, for the candidates' tokens
    candidate_tokens  [C]
    candidate_cells   [C]     which cell of `teacher` each candidate token belongs to
    teacher           [R, K]  the teacher's log probabilities, `ABSENT` where a row has fewer than K candidates
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from student_finetune.data import Example
from student_finetune.losses import ABSENT


@dataclass
class _Row:
    """One row while it is laid out: tokens, the branch and position of each, and where predictions are made."""

    tokens: list[int]
    branch: list[int] = field(default_factory=list)
    position: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.prompt = len(self.tokens)
        self.branch = [0] * self.prompt
        self.position = list(range(self.prompt))

    def append(self, number: int, branch: Sequence[int]) -> list[int]:
        """Add a branch; returns the columns that predict its tokens."""
        start, fed = len(self.tokens), len(branch) - 1
        self.tokens += branch[:-1]
        self.branch += [number] * fed
        self.position += range(self.prompt, self.prompt + fed)
        return [self.prompt - 1, *range(start, start + fed)]


class Collator:
    """Lays out examples as in the module's docstring."""

    def __init__(self, pad_id: int, dtype: torch.dtype = torch.float32) -> None:
        self.pad_id, self.dtype = pad_id, dtype

    def __call__(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        rows = [_Row(list(example.prompt)) for example in examples]
        answers = [row.append(1, example.answer) for row, example in zip(rows, examples, strict=True)]
        candidates = [
            [row.append(number, ids) for number, ids in enumerate(example.candidates, 2)]
            for row, example in zip(rows, examples, strict=True)
        ]
        width = max(len(row.tokens) for row in rows)
        batch = {"input_ids": _padded([row.tokens for row in rows], width, self.pad_id)}
        if any(max(row.branch) > 1 for row in rows):
            batch["position_ids"] = _padded([row.position for row in rows], width, 0)
            batch["attention_mask"] = self._tree(_padded([row.branch for row in rows], width, -1))
        return batch | _targets(examples, answers, candidates, width)

    def _tree(self, branch: torch.Tensor) -> torch.Tensor:
        """Additive mask [rows, 1, width, width]: a token sees what comes before it in the prompt or in its branch."""
        query, key = branch[:, :, None], branch[:, None, :]
        visible = ((key == 0) | (key == query)).tril()
        mask = torch.zeros(visible.shape, dtype=self.dtype).masked_fill(~visible, torch.finfo(self.dtype).min)
        return mask[:, None]


def _targets(
    examples: Sequence[Example],
    answers: Sequence[Sequence[int]],
    candidates: Sequence[Sequence[Sequence[int]]],
    width: int,
) -> dict[str, torch.Tensor]:
    kept: dict[int, int] = {}

    def keep(row: int, columns: Sequence[int]) -> list[int]:
        return [kept.setdefault(row * width + column, len(kept)) for column in columns]

    answer_at: list[int] = []
    answer_tokens: list[int] = []
    has_teacher: list[bool] = []
    at: list[int] = []
    tokens: list[int] = []
    cells: list[int] = []
    labelled = [index for index, example in enumerate(examples) if example.teacher]
    most = max((len(examples[index].teacher) for index in labelled), default=0)
    for index, example in enumerate(examples):
        answer_at += keep(index, answers[index])
        answer_tokens += example.answer
        has_teacher += [bool(example.teacher)] * len(example.answer)
    for number, index in enumerate(labelled):
        for candidate, ids in enumerate(examples[index].candidates):
            at += keep(index, candidates[index][candidate])
            tokens += ids
            cells += [number * most + candidate] * len(ids)
    targets = {
        "kept": torch.tensor(list(kept)),
        "answer_at": torch.tensor(answer_at),
        "answer_tokens": torch.tensor(answer_tokens),
        "answer_has_teacher": torch.tensor(has_teacher),
    }
    if labelled:
        teacher = [[max(value, ABSENT) for value in examples[index].teacher] for index in labelled]
        targets |= {
            "candidate_at": torch.tensor(at),
            "candidate_tokens": torch.tensor(tokens),
            "candidate_cells": torch.tensor(cells),
            "teacher": torch.tensor([values + [ABSENT] * (most - len(values)) for values in teacher]),
        }
    return targets


def _padded(rows: Sequence[Sequence[int]], width: int, pad: int) -> torch.Tensor:
    return torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
