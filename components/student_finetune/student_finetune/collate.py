"""From examples to one batch of tensors.

A row of a batch is its prompt, followed by *branches*: the answer, then each candidate.  A branch sees the prompt and
itself only and counts positions on from the prompt, so one pass gives the log probabilities of all of them.  The last
token of a branch predicts nothing and is not fed.  Where a mask does not keep branches apart (see `shared.branches`)
each is a row of its own, after the prompt once more.  Rows are padded on the right, where causal attention never looks;
packed, they stand one after the other in a single row, each counting its positions from 0, which tells them apart.

    input_ids         [rows, width], or [1, all tokens] packed
    kept              [P]     flat positions in it whose logits are needed, the answers' first
    asked_at          [Q]     index into `kept` of each token whose log probability is needed, ascending
    asked_tokens      [Q]     and the token
    answer_tokens     [A]     the answer tokens, the end of turn among them; position i of `kept` predicts the i-th
    answer_asked      [A]     index into `asked_*` of each answer token
    answer_lengths    [rows]  answer tokens of each row
    answer_labelled   [A]     whether the token's row has teacher probabilities of its candidates
    candidate_asked   [C]     as answer_asked, for the candidates' tokens
    candidate_cells   [C]     which cell of `teacher` each candidate token belongs to
    teacher           [R, K]  the teacher's log probabilities, `ABSENT` where a row has fewer than K candidates
    answer_listed     [A]     whether there are log probabilities of the teacher's likeliest tokens
    listed_asked      [L, M]  for these: as answer_asked, -1 where there are fewer than M
    listed            [L, M]  and the teacher's log probabilities, `ABSENT` where there are fewer
    rows              [rows]  the examples' numbers
    lengths           [rows]  how many tokens of each row are fed

and, where a hosted teacher is to be read,

    question          [sum]   its own question and the answer without the end of turn, row after row
    question_lengths  [rows]  how many of these tokens are each row's
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

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

    def apart(self) -> dict[int, list[int]]:
        """The prompt and a branch, for each branch that has tokens, the answer's always."""
        found = {1: self.tokens[: self.prompt]}
        for token, number in zip(self.tokens[self.prompt :], self.branch[self.prompt :], strict=True):
            found.setdefault(number, self.tokens[: self.prompt]).append(token)
        return found


class Collator:
    """Lays out examples as in the module's docstring; packed ones must have candidates of one token only."""

    def __init__(
        self, pad_id: int, dtype: torch.dtype = torch.float32, *, packed: bool = False, masked: bool = True
    ) -> None:
        """`masked` says whether a mask keeps branches apart, so that they may share a row."""
        self.pad_id, self.dtype, self.packed, self.masked = pad_id, dtype, packed, masked

    def __call__(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        rows = [_Row(list(example.prompt)) for example in examples]
        answers = [row.append(1, example.answer) for row, example in zip(rows, examples, strict=True)]
        candidates = [
            [row.append(number, ids) for number, ids in enumerate(example.candidates, 2)]
            for row, example in zip(rows, examples, strict=True)
        ]
        batch, places = self._laid_out(rows)
        batch |= _targets(examples, answers, candidates, places)
        batch["rows"] = torch.tensor([example.number for example in examples])
        batch["lengths"] = torch.tensor([len(row.tokens) for row in rows])
        return batch | (_questions(examples) if any(example.asked for example in examples) else {})

    def _laid_out(self, rows: Sequence[_Row]) -> tuple[dict[str, torch.Tensor], Sequence[Sequence[int]]]:
        """What the layers are fed, and the flat position of each row's tokens."""
        lengths = [len(row.tokens) for row in rows]
        if self.packed:
            starts = [0, *itertools.accumulate(lengths[:-1])]
            places = [range(start, start + length) for start, length in zip(starts, lengths, strict=True)]
            return together([row.tokens for row in rows]), places
        if not self.masked:
            return self._apart(rows)
        width = max(lengths)
        batch = {"input_ids": padded([row.tokens for row in rows], width, self.pad_id)}
        if any(max(row.branch) > 1 for row in rows):
            batch["position_ids"] = padded([row.position for row in rows], width, 0)
            batch["attention_mask"] = self._tree(padded([row.branch for row in rows], width, -1))
        return batch, [range(width * number, width * (number + 1)) for number in range(len(rows))]

    def _apart(self, rows: Sequence[_Row]) -> tuple[dict[str, torch.Tensor], Sequence[Sequence[int]]]:
        fed = [(number, branch, tokens) for number, row in enumerate(rows) for branch, tokens in row.apart().items()]
        width = max(len(tokens) for _, _, tokens in fed)
        starts = {(number, branch): width * at for at, (number, branch, _) in enumerate(fed)}
        places = [
            [starts[number, branch or 1] + at for branch, at in zip(row.branch, row.position, strict=True)]
            for number, row in enumerate(rows)
        ]
        return {"input_ids": padded([tokens for _, _, tokens in fed], width, self.pad_id)}, places

    def _tree(self, branch: torch.Tensor) -> torch.Tensor:
        """Additive mask [rows, 1, width, width]: a token sees what comes before it in the prompt or in its branch."""
        query, key = branch[:, :, None], branch[:, None, :]
        visible = ((key == 0) | (key == query)).tril()
        mask = torch.zeros(visible.shape, dtype=self.dtype).masked_fill(~visible, torch.finfo(self.dtype).min)
        return mask[:, None]


@dataclass
class _Asked:
    """The (position, token) pairs whose log probabilities are needed, as they are gathered."""

    at: list[torch.Tensor] = field(default_factory=list)
    tokens: list[torch.Tensor] = field(default_factory=list)

    def add(self, at: Any, tokens: Any) -> slice:
        """Ask; returns where the answers will be, before they are sorted."""
        start = sum(map(len, self.at))
        self.at.append(torch.as_tensor(at, dtype=torch.long))
        self.tokens.append(torch.as_tensor(tokens, dtype=torch.long))
        return slice(start, start + len(self.at[-1]))

    def sorted(self) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The pairs by position, and where each of the pairs added has gone."""
        at = torch.cat(self.at)
        order = at.argsort(stable=True)
        return {"asked_at": at[order], "asked_tokens": torch.cat(self.tokens)[order]}, order.argsort()


def _targets(
    examples: Sequence[Example],
    answers: Sequence[Sequence[int]],
    candidates: Sequence[Sequence[Sequence[int]]],
    places: Sequence[Sequence[int]],
) -> dict[str, torch.Tensor]:
    kept: dict[int, int] = {}

    def keep(row: int, columns: Sequence[int]) -> list[int]:
        return [kept.setdefault(places[row][column], len(kept)) for column in columns]

    asked = _Asked()
    lengths = [len(example.answer) for example in examples]
    at = [place for row, columns in enumerate(answers) for place in keep(row, columns)]
    answer = asked.add(at, [token for example in examples for token in example.answer])
    labels, candidate = _labels(examples, candidates, keep, asked)
    listed, present, cells = _listed(examples, asked)
    found, gone = asked.sorted()
    table = torch.full(present.shape, -1)
    table[present] = gone[cells]
    return {
        "kept": torch.tensor(list(kept)),
        **found,
        "answer_tokens": asked.tokens[0],
        "answer_asked": gone[answer],
        "answer_lengths": torch.tensor(lengths),
        **labels,
        "candidate_asked": gone[candidate],
        **listed,
        "listed_asked": table,
    }


def _labels(
    examples: Sequence[Example],
    candidates: Sequence[Sequence[Sequence[int]]],
    keep: Callable[[int, Sequence[int]], list[int]],
    asked: _Asked,
) -> tuple[dict[str, torch.Tensor], slice]:
    """The teacher's probabilities of the rows' candidates, and what is asked of the student for them."""
    labelled = [index for index, example in enumerate(examples) if example.teacher]
    most = max((len(examples[index].teacher) for index in labelled), default=0)
    at: list[int] = []
    tokens: list[int] = []
    cells: list[int] = []
    for number, index in enumerate(labelled):
        for candidate, ids in enumerate(examples[index].candidates):
            at += keep(index, candidates[index][candidate])
            tokens += ids
            cells += [number * most + candidate] * len(ids)
    teacher = [[max(value, ABSENT) for value in examples[index].teacher] for index in labelled]
    rows = [values + [ABSENT] * (most - len(values)) for values in teacher]
    labels = {
        "answer_labelled": torch.tensor([bool(example.teacher) for example in examples for _ in example.answer]),
        "candidate_cells": torch.tensor(cells, dtype=torch.long),
        "teacher": torch.tensor(rows, dtype=torch.float32).view(len(labelled), most),
    }
    return labels, asked.add(at, tokens)


def _listed(examples: Sequence[Example], asked: _Asked) -> tuple[dict[str, torch.Tensor], torch.Tensor, slice]:
    """The teacher's likeliest tokens, where there are any, and what is asked of the student for them."""
    most = max((example.listed.ids.shape[1] for example in examples if example.listed), default=0)
    count = sum(len(example.answer) for example in examples)
    ids, logprobs = torch.zeros((count, most), dtype=torch.long), torch.full((count, most), ABSENT)
    start = 0
    for example in examples:
        if example.listed:
            rows, columns = example.listed.ids.shape
            ids[start : start + rows, :columns] = torch.from_numpy(example.listed.ids).long()
            logprobs[start : start + rows, :columns] = torch.from_numpy(example.listed.logprobs)
        start += len(example.answer)
    taught = (logprobs > ABSENT).any(1)
    ids, logprobs = ids[taught], logprobs[taught]
    present = logprobs > ABSENT
    at = taught.nonzero()[:, :1].expand(present.shape)[present]  # position i of `kept` predicts answer token i
    return {"answer_listed": taught, "listed": logprobs}, present, asked.add(at, ids[present])


def _questions(examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    rows = [[*example.asked, *example.answer[:-1]] for example in examples]
    return {
        "question": torch.tensor([token for row in rows for token in row]),
        "question_lengths": torch.tensor([len(row) for row in rows]),
    }


def padded(rows: Sequence[Sequence[int]], width: int, pad: int) -> torch.Tensor:
    """[rows, width], filled up on the right."""
    return torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])


def together(rows: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
    """One row of all, each counting its positions from 0: `input_ids` and `position_ids` [1, tokens]."""
    return {
        "input_ids": torch.tensor([[token for row in rows for token in row]]),
        "position_ids": torch.tensor([[place for row in rows for place in range(len(row))]]),
    }
