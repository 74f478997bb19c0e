"""What a teacher is: something that answers questions.  An endpoint and a hosted model look the same to the runner."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from shared.rows import Message

# the chosen token; (token, log probability) of the likeliest and the chosen one
TokenLogprobs = tuple[str, Sequence[tuple[str, float]]]

FILTERED, REFUSED, CUT = "content_filter", "refusal", "length"


@dataclass(frozen=True)
class Question:
    """One prompt as the teacher gets it.

    `candidates` are given where the answer is one of them and comes at once, so that the teacher's probabilities of
    them can be had; they are empty for free text and for answers after a chain of thought.
    """

    messages: Sequence[Message]
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What came back for a question.

    `finish` is OpenAI's finish reason, or `refusal`.  `top_logprobs` holds for each answer token the token and its
    likeliest alternatives; `label_logprobs` log P(candidate | prompt), not normalised, where the teacher is a model
    at hand.  `prompt_tokens` and `completion_tokens` are the teacher's own counts, 0 where it gives none.
    """

    text: str
    finish: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency_ms: float | None = None
    top_logprobs: Sequence[TokenLogprobs] | None = None
    label_logprobs: Mapping[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if value is not None}

    @staticmethod
    def from_json(value: dict[str, Any]) -> Answer:
        return Answer(**value)


@dataclass(frozen=True)
class Ask:
    """A question that has to be asked, and the key that its answer is kept under."""

    key: str
    question: Question


class Sink(Protocol):
    """Where a teacher delivers: it writes answers, waits until they are on disk, and only then counts them."""

    def write(self, answers: Sequence[tuple[str, Answer]]) -> None:
        """Add answers, by key."""

    def sync(self) -> None:
        """Wait until all that was written is on disk; the one method that may run in another thread."""

    def count(self, answers: Sequence[tuple[str, Answer]]) -> None:
        """Count answers that are on disk."""

    def fail(self, key: str, reason: str) -> None:
        """Note that a question got no answer, and why; it is asked again by the next run."""


class Teacher(Protocol):
    """Answers questions and says which request each one is."""

    @property
    def kind(self) -> Literal["endpoint", "hosted"]: ...

    @property
    def name(self) -> str: ...

    @property
    def origin(self) -> str:
        """Who answers: an endpoint's URL and model, or a fingerprint of the weights.  One answer file an origin."""

    def request(self, question: Question) -> Mapping[str, object]:
        """All that the answer depends on beside `origin`; no secret."""

    def ask(self, asks: Iterator[Ask], sink: Sink) -> None:
        """Ask all, in any order, taking them from the iterator as they are needed."""


def request_key(teacher: Teacher, question: Question) -> str:
    """sha256 of the canonical request: equal exactly when origin, messages and all parameters are equal."""
    request = {"origin": teacher.origin, "sample": 0, **teacher.request(question)}
    text = json.dumps(request, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
