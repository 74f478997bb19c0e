"""An endpoint's token log probabilities as log probabilities of the student's tokens.

The endpoint's tokens are texts.  They are of use where both tokenizers cut the answer at the same places: there, each
listed token that is one token of the student's, too, gets its id.  A token that is not leaves its probability to the
tail (see `losses.tail_kl`); where that would be much, and where the cuts differ, the student learns from the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.errors import InvalidInput, Problem
from student_finetune.losses import ABSENT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LEAST_COVERAGE = 0.8
"""Share of the answers' tokens that must align; below it the two models do not write in the same tokens."""

UNKNOWN = 0.05
"""Largest probability of listed tokens that the student has no token for, at a position that is taught."""

BROKEN = "\ufffd"
"""Stands in a token's text for bytes that are no whole character."""


@dataclass(frozen=True, eq=False)
class Listed:
    """The teacher's likeliest tokens at each answer token: ids int32 and log probabilities float32, [answer, most].

    `ABSENT` where there are fewer; a row of nothing else is a token that is not taught.
    """

    ids: np.ndarray[Any, np.dtype[np.int32]]
    logprobs: np.ndarray[Any, np.dtype[np.float32]]


class Aligner:
    """Aligns rows for one student, and counts how much of those with log probabilities aligned."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.tokens = self.taught = 0

    @property
    def coverage(self) -> float | None:
        """The share of the answers' tokens, ends of turn apart, that the log probabilities teach; None without any."""
        return self.taught / self.tokens if self.tokens else None

    def check(self, file: str) -> None:
        """Print the coverage; raises InvalidInput where it is too low."""
        if self.coverage is None:
            return
        said = f"{self.coverage:.1%} of the answers' {self.tokens} tokens have log probabilities that align"
        print(said, flush=True)
        if self.coverage < LEAST_COVERAGE:
            message = f"teacher and student write in different tokens: {said}, {LEAST_COVERAGE:.0%} are needed"
            hint = "distillation.method: response, or label_logits for a task with labels"
            raise InvalidInput(Problem(message, file, None, "distillation.method", hint))

    def align(self, answer: str, ids: Sequence[int], tokens: Sequence[Mapping[str, Any]]) -> Listed | None:
        """`ids` are the student's for `answer` and its end of turn, `tokens` the row's `token_logprobs`.

        A row without any does not count: it says nothing of how alike the tokenizers are.
        """
        if not tokens:
            return None
        self.tokens += len(ids) - 1
        spans = self._teacher_spans(answer.encode(), [_bytes(token) for token in tokens])
        end = len(answer.encode())
        found = {}
        for place, span in enumerate([*self._student_spans(answer, ids[:-1]), (end, end)]):
            if span in spans:
                found[place] = self._listed(int(ids[place]), tokens[spans[span]])
        found = {place: known for place, known in found.items() if known}
        self.taught += sum(place < len(ids) - 1 for place in found)
        return _table(found, len(ids))

    def _listed(self, chosen: int, token: Mapping[str, Any]) -> dict[int, float]:
        """Log probabilities by student's token; empty where the student has no token for too much of them."""
        known, unknown = {chosen: float(token["logprob"])}, 0.0
        for text, logprob in token["top"]:
            if text == token["token"]:
                continue
            found = self.ids.get(text)
            if found is None or found in known:
                unknown += float(np.exp(logprob))
            else:
                known[found] = float(logprob)
        return known if unknown <= UNKNOWN else {}

    def _teacher_spans(self, answer: bytes, tokens: Sequence[bytes]) -> dict[tuple[int, int], int]:
        """Which token stands at which bytes of the answer; (end, end) is the token that ends the turn, if listed."""
        begin = b"".join(tokens).find(answer) if answer else -1
        if begin < 0:
            return {}
        spans, place = {}, -begin
        for number, token in enumerate(tokens):
            # an end of turn has the text of the student's, or none
            if place == len(answer) and (token in (b"", self.end.encode())):
                spans[place, place] = number
            elif token and 0 <= place < len(answer):
                spans[place, place + len(token)] = number
            place += len(token)
        return spans

    def _student_spans(self, answer: str, ids: Sequence[int]) -> list[tuple[int, int]]:
        """At which bytes each of the student's tokens stands; nowhere for one that is a part of a character."""
        spans, rest, pending = [], answer, list[int]()
        for token in ids:
            text = self.texts.get(token, BROKEN)
            if not pending and rest.startswith(text):
                start = len(answer.encode()) - len(rest.encode())
                spans.append((start, start + len(text.encode())))
                rest = rest[len(text) :]
                continue
            pending.append(token)
            spans.append((-1, -1))
            text = self._decoded(pending)
            if rest.startswith(text):
                rest, pending = rest[len(text) :], []
        return spans

    @cached_property
    def end(self) -> str:
        from shared.chat import end_ids

        return self.texts.get(end_ids(self.tokenizer)[0], "")

    @cached_property
    def texts(self) -> dict[int, str]:
        """The text of each token that is whole characters."""
        # decoded after another token: some tokenizers drop a space at the beginning of a text
        anchor = self.tokenizer("a", add_special_tokens=False)["input_ids"]
        numbers = range(len(self.tokenizer))
        decoded: Any = self.tokenizer.batch_decode(
            [[*anchor, number] for number in numbers], clean_up_tokenization_spaces=False
        )
        length = len(self._decoded(anchor))
        return {number: text[length:] for number, text in zip(numbers, decoded, strict=True) if BROKEN not in text}

    @cached_property
    def ids(self) -> dict[str, int]:
        """The token of each text; of several the first."""
        found: dict[str, int] = {}
        for number, text in self.texts.items():
            found.setdefault(text, number)
        return found

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def _bytes(token: Mapping[str, Any]) -> bytes:
    return bytes(token["bytes"]) if "bytes" in token else str(token["token"]).encode()


def _table(found: Mapping[int, Mapping[int, float]], length: int) -> Listed | None:
    if not found:
        return None
    most = max(map(len, found.values()))
    ids, logprobs = np.zeros((length, most), np.int32), np.full((length, most), ABSENT, np.float32)
    for place, known in found.items():
        ids[place, : len(known)] = list(known)
        logprobs[place, : len(known)] = np.clip(list(known.values()), ABSENT, 0)
    return Listed(ids, logprobs)
