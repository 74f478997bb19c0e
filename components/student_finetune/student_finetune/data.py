"""From rows to token ids: one `Example` a row, or the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import InvalidInput, Problem
from shared.rows import Row, read_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from student_finetune.align import Listed
    from student_finetune.signals import Signal


@dataclass(frozen=True)
class Located:
    """A row and the place in its file that a message about it names."""

    row: Row
    file: str
    line: int

    @property
    def without_tokens(self) -> Located:
        """Without the token log probabilities, many times as large as all else; an empty list says there were some."""
        row = self.row
        return replace(self, row=replace(row, token_logprobs=[])) if row.token_logprobs else self

    def problem(self, message: str, field: str | None = None) -> Problem:
        return Problem(message, self.file, self.line, field)


@dataclass(frozen=True)
class Example:
    """Token ids of one row, and what the signals add to it.

    `answer` ends with the end-of-turn token.  `candidates` and the teacher's log probabilities of them (`teacher`),
    its likeliest tokens along the answer (`listed`), and the token ids of its own question (`asked`) are empty where
    the row has none or the method does not use them.  `number` tells the examples of a training apart.
    """

    prompt: list[int]
    answer: list[int]
    candidates: tuple[tuple[int, ...], ...] = ()
    teacher: tuple[float, ...] = ()
    listed: Listed | None = None
    asked: tuple[int, ...] = ()
    number: int = 0

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)

    @property
    def branches(self) -> tuple[Sequence[int], ...]:
        """What must not see each other after the prompt; () where the answer alone is fed."""
        return (self.answer, *self.candidates) if any(len(ids) > 1 for ids in self.candidates) else ()


def read_training(folder: Path) -> list[Located]:
    """The rows of train.jsonl, each with an answer to learn; raises InvalidInput with every bad row.

    Without their token log probabilities: see `stream_training`.
    """
    rows, problems = list[Located](), list[Problem]()
    for located in stream_training(folder):
        problems += _problems(located)
        rows.append(located.without_tokens)
    if problems:
        raise InvalidInput(*problems)
    if not rows:
        raise InvalidInput(Problem("there is no row to learn from", str(folder / "train.jsonl")))
    return rows


def stream_training(folder: Path) -> Iterator[Located]:
    """The rows of train.jsonl whole, one at a time."""
    return _located(folder / "train.jsonl")


def read_gold_validation(folder: Path) -> list[Located]:
    """The rows of validation.jsonl whose answer is the user's own."""
    return [
        located
        for located in _located(folder / "validation.jsonl")
        if located.row.reference is not None and located.row.answer
    ]


def _located(path: Path) -> Iterator[Located]:
    rows = read_rows(path) if path.exists() else iter(())
    return (Located(row, str(path), line) for line, row in enumerate(rows, 1))


def _problems(located: Located) -> Iterator[Problem]:
    row = located.row
    if not row.prompt:
        yield located.problem("has no prompt")
    if not (row.answer or "").strip():
        yield located.problem("has no answer to learn: the last message must be the assistant's")
    if row.label_logprobs is not None and not _good_labels(row.label_logprobs):
        yield located.problem("must give a log probability for two or more answers", "label_logprobs")
    if row.token_logprobs is not None and not all(map(_good_token, row.token_logprobs)):
        yield located.problem("must list tokens with token, logprob and top", "token_logprobs")


def _good_labels(logprobs: Mapping[str, object]) -> bool:
    values = list(logprobs.values())
    return len(values) >= 2 and all(map(_is_logprob, values)) and any(value != -math.inf for value in values)


def _good_token(token: object) -> bool:
    if not isinstance(token, dict) or not isinstance(token.get("token"), str) or not _is_logprob(token.get("logprob")):
        return False
    top = token.get("top")
    return isinstance(top, list) and all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and _is_logprob(pair[1]) for pair in top
    )


def _is_logprob(value: object) -> bool:
    return isinstance(value, int | float) and value <= 0.01  # rounding by an endpoint; false of NaN


class Encoder:
    """Rows to examples, with the student's tokenizer and what the signals add."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int, signals: Sequence[Signal] = ()) -> None:
        from shared.chat import end_ids

        self.tokenizer, self.max_length, self.signals = tokenizer, max_length, signals
        self.end = end_ids(tokenizer)

    def encode(self, row: Row) -> Example:
        from shared.chat import answer_ids, prompt_ids

        answer = answer_ids(self.tokenizer, row.answer or "") + self.end
        example = Example(prompt_ids(self.tokenizer, row.prompt), answer)
        for signal in self.signals:
            example = signal.encode(row, example)
        return example

    def encode_all(self, rows: Iterable[Located], *, required: bool = True) -> list[Example]:
        """Examples of the rows that fit; a row cut short would teach a wrong end, so longer ones are left out.

        Raises InvalidInput with every row that cannot be learnt; and, where some are `required`, when none fits.
        """
        examples, long, problems = list[Example](), list[Located](), list[Problem]()
        for located in rows:
            try:
                example = self.encode(located.row)
            except InvalidInput as error:
                problems += [located.problem(problem.message) for problem in error.problems]
                continue
            problems += self._untrainable(located, example)
            if len(example) > self.max_length:
                long.append(located.without_tokens)
            else:
                examples.append(replace(example, number=len(examples)))
        if problems:
            raise InvalidInput(*problems)
        if long and not examples and required:
            hint = "raise hyperparameters.max_length"
            raise InvalidInput(Problem(f"every row is longer than {self.max_length} tokens", long[0].file, hint=hint))
        if long:
            rows_long = f"{len(long)} of {len(long) + len(examples)} rows are longer than {self.max_length} tokens"
            print(f"warning: {rows_long} and are left out, the first at {long[0].file}:{long[0].line}", flush=True)
        return examples

    def _untrainable(self, located: Located, example: Example) -> Iterator[Problem]:
        """Why a row would not teach an answer that ends: at least one token, and one end of turn, after it."""
        if len(example.answer) <= len(self.end):
            yield located.problem("the student's tokenizer has no token for the answer")
        elif self.end[0] in example.answer[: -len(self.end)]:
            yield located.problem("the answer holds the student's end-of-turn token")
