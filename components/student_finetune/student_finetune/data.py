"""From rows to token ids: one `Example` a row, or the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import InvalidInput, Problem
from shared.rows import Row, read_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Located:
    """A row and the place in its file that a message about it names."""

    row: Row
    file: str
    line: int

    def problem(self, message: str, field: str | None = None) -> Problem:
        return Problem(message, self.file, self.line, field)


@dataclass(frozen=True)
class Example:
    """Token ids of one row.

    `answer` ends with the end-of-turn token.  `candidates` and the teacher's log probabilities of them (`teacher`)
    are empty where the row has none or the method does not use them.
    """

    prompt: list[int]
    answer: list[int]
    candidates: tuple[tuple[int, ...], ...] = ()
    teacher: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


def read_training(folder: Path) -> list[Located]:
    """The rows of train.jsonl, each with an answer to learn; raises InvalidInput with every bad row."""
    rows = list(_located(folder / "train.jsonl"))
    problems = [problem for row in rows for problem in _problems(row)]
    if problems:
        raise InvalidInput(*problems)
    if not rows:
        raise InvalidInput(Problem("there is no row to learn from", str(folder / "train.jsonl")))
    return rows


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
    if row.label_logprobs is None:
        return
    values = list(row.label_logprobs.values())
    numbers = all(isinstance(value, int | float) and not math.isnan(value) for value in values)
    if len(values) < 2 or not numbers or max(values) > 1e-3 or max(values) == -math.inf:
        yield located.problem("must give a log probability for two or more answers", "label_logprobs")


class Encoder:
    """Rows to examples, with one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int, *, teacher: bool) -> None:
        from shared.chat import end_ids
        from shared.labels import label_ids

        self.tokenizer, self.max_length, self.teacher = tokenizer, max_length, teacher
        self.end = end_ids(tokenizer)

        @lru_cache(maxsize=1024)
        def candidates(labels: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
            return tuple(tuple(ids) for ids in label_ids(tokenizer, labels))

        self._candidates = candidates

    def encode(self, row: Row) -> Example:
        from shared.chat import answer_ids, prompt_ids

        prompt = prompt_ids(self.tokenizer, row.prompt)
        answer = answer_ids(self.tokenizer, row.answer or "") + self.end
        if not (self.teacher and row.label_logprobs):
            return Example(prompt, answer)
        labels = tuple(row.label_logprobs)
        return Example(prompt, answer, self._candidates(labels), tuple(row.label_logprobs.values()))

    def encode_all(self, rows: Sequence[Located]) -> list[Example]:
        """Examples of the rows that fit; a row cut short would teach a wrong end, so longer ones are left out."""
        encoded = [(located, self.encode(located.row)) for located in rows]
        long = [located for located, example in encoded if len(example) > self.max_length]
        if long and len(long) == len(encoded):
            hint = "raise hyperparameters.max_length"
            raise InvalidInput(Problem(f"every row is longer than {self.max_length} tokens", long[0].file, hint=hint))
        if long:
            print(
                f"warning: {len(long)} of {len(encoded)} rows are longer than {self.max_length} tokens and are left "
                f"out, the first at {long[0].file}:{long[0].line}",
                flush=True,
            )
        return [example for _, example in encoded if len(example) <= self.max_length]
