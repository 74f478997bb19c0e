"""A model's answers: the likeliest candidate where the task has candidates, greedy text elsewhere."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

from shared.beginning import Continued, common_beginning
from shared.chat import prompt_ids
from shared.generate import Sampling, generate, length_batches
from shared.labels import label_ids, label_logprobs
from shared.progress import Progress
from shared.rows import Row
from shared.tasks import Task

TOKENS = 16384  # most tokens of a batch: long prompts go in smaller batches
LABEL_TOKENS = {"cpu": 1024}  # of a batch of label questions, where more only falls out of the processor's cache
TEXT_ROWS = {"cpu": 32, "cuda": 128}


@dataclass(frozen=True)
class Answer:
    """`tokens` counts what was generated, or read where the answer was chosen among candidates."""

    text: str
    tokens: int
    probabilities: dict[str, float] | None = None


class Asker:
    """Asks one model.  `truncated` counts prompts cut to the model's window, `cut` texts that ran out of tokens."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        task: Task,
        max_new_tokens: int,
        *,
        as_teacher: bool = False,
    ) -> None:
        self.model, self.tokenizer, self.task, self.as_teacher = model, tokenizer, task, as_teacher
        self.window: int | None = getattr(model.config, "max_position_embeddings", None)
        self.max_new_tokens = min(max_new_tokens, self.window // 2) if self.window else max_new_tokens
        self.truncated = self.cut = 0
        self.labels: dict[tuple[str, ...], list[list[int]]] = {}

    def with_limit(self, max_new_tokens: int) -> Asker:
        """The same model asked for shorter texts, with counts of its own."""
        return Asker(self.model, self.tokenizer, self.task, max_new_tokens, as_teacher=self.as_teacher)

    def timed(
        self, rows: Sequence[Row], progress: Progress | None = None, *, batch: int | None = None
    ) -> tuple[list[Answer], float]:
        """The answers to `rows` (as by `answer`) and the seconds it took, from messages to text."""
        start = time.perf_counter()
        answers = self.answer(rows, progress, batch=batch)
        return answers, time.perf_counter() - start

    def answer(
        self, rows: Sequence[Row], progress: Progress | None = None, *, batch: int | None = None
    ) -> list[Answer]:
        """One answer a row, in the order of the rows; in batches by candidates and length.

        `batch` is the most rows of a batch; without it batches are as large as this machine likes them.
        """
        groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            groups[self.task.candidates(row.prompt)].append(index)
        answers: dict[int, Answer] = {}
        for candidates, places in groups.items():
            room = max(map(len, self._label_ids(candidates))) if candidates else self.max_new_tokens
            fitted = [self.prompt(rows[place], room) for place in places]
            self.truncated += sum(cut for _, cut in fitted)
            prompts = [ids for ids, _ in fitted]
            given = self._choose(prompts, candidates, batch) if candidates else self._write(prompts, batch)
            for part in given:
                answers |= {places[index]: answer for index, answer in part}
                if progress:
                    progress.advance(len(part))
        return [answers[index] for index in range(len(rows))]

    def _choose(
        self, prompts: list[list[int]], candidates: tuple[str, ...], most: int | None
    ) -> Iterator[list[tuple[int, Answer]]]:
        labels = self._label_ids(candidates)
        tails = sum(len(label) for label in labels)
        beginning = common_beginning(prompts)
        with torch.inference_mode():
            continued: Any = Continued.of(self.model, beginning)
        start = len(beginning) if continued else 0
        rests = [ids[start:] for ids in prompts]
        tokens = TOKENS if most else LABEL_TOKENS.get(self.model.device.type, TOKENS)
        for batch in length_batches(rests, most, tokens=tokens, tail=tails):
            asked = [rests[index] for index in batch]
            with torch.inference_mode():
                logprobs = label_logprobs(continued or self.model, asked, labels, int(self.tokenizer.pad_token_id))
            shares = logprobs.log_softmax(-1).exp().tolist()
            yield [
                (index, _likeliest(candidates, share, len(prompts[index])))
                for index, share in zip(batch, shares, strict=True)
            ]

    def _write(self, prompts: list[list[int]], most: int | None) -> Iterator[list[tuple[int, Answer]]]:
        sampling = Sampling(max_tokens=self.max_new_tokens)
        rows = most or TEXT_ROWS[self.model.device.type]
        for batch in generate(self.model, self.tokenizer, prompts, sampling, rows, TOKENS):
            self.cut += sum(not text.finished for text in batch)
            yield [(text.index, Answer(text.text, text.tokens)) for text in batch]

    def prompt(self, row: Row, room: int) -> tuple[list[int], bool]:
        """Its token ids, and whether they were cut to leave `room` tokens of the model's window.

        The end is kept: it holds the question and the assistant's header.
        """
        messages = self.task.teacher_messages(row.prompt) if self.as_teacher else row.prompt
        ids = prompt_ids(self.tokenizer, messages)
        if self.window is None or len(ids) <= self.window - room:
            return ids, False
        return ids[room - self.window :], True

    def _label_ids(self, candidates: tuple[str, ...]) -> list[list[int]]:
        if candidates not in self.labels:
            self.labels[candidates] = label_ids(self.tokenizer, candidates)
        return self.labels[candidates]


def _likeliest(candidates: Sequence[str], shares: Sequence[float], tokens: int) -> Answer:
    best = max(range(len(candidates)), key=shares.__getitem__)
    return Answer(candidates[best], tokens, dict(zip(candidates, shares, strict=True)))
