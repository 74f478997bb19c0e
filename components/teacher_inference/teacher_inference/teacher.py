"""What a teacher is: something that answers questions.  An endpoint and a hosted model look the same to the runner."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from shared.rows import Message

# the chosen token; (token, log probability) of the likeliest and the chosen one
TokenLogprobs = tuple[str, Sequence[tuple[str, float]]]

# log probabilities that a method needs: none (they are kept where they come for nothing), of labels, of tokens
Needs = Literal["none", "labels", "tokens"]

# finishes by which an answer is none; all but `refusal`, `error` and `tool_calls` are OpenAI's reasons
FILTERED, REFUSED, CUT, BROKEN, CALLED = "content_filter", "refusal", "length", "error", "tool_calls"


@dataclass(frozen=True)
class Question:
    """One prompt as the teacher gets it.

    `candidates` are given where the answer is one of them; they are empty for free text.  `reasoned` when the answer
    is a JSON object of `reason` and `answer`.
    """

    messages: Sequence[Message]
    candidates: tuple[str, ...] = ()
    reasoned: bool = False

    @property
    def direct(self) -> bool:
        """Whether the answer is a candidate that comes at once, so that the teacher's probabilities can be had."""
        return bool(self.candidates) and not self.reasoned


@dataclass(frozen=True)
class Answer:
    """What came back for a question.

    `finish` is OpenAI's finish reason, or one of those above.  `top_logprobs` holds for each answer token the token and
    its likeliest alternatives; `token_bytes` the bytes of those tokens, by their position, whose text cannot show them
    (parts of a character).  `label_logprobs` is log P(candidate | prompt), not normalised, where the teacher is a
    model at hand.  `prompt_tokens` and `completion_tokens` are the teacher's own counts, 0 where it gives none.
    """

    text: str
    finish: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency_ms: float | None = None
    top_logprobs: Sequence[TokenLogprobs] | None = None
    token_bytes: Mapping[str, Sequence[int]] | None = None
    label_logprobs: Mapping[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if value is not None}

    @staticmethod
    def from_json(value: dict[str, Any]) -> Answer:
        return Answer(**value)


class Draws:
    """Which samples of a question are wanted: the first `count`, and one more for each useless one, `spare` at most.

    An iterator over their numbers that goes on when `extend` has added one.
    """

    def __init__(self, question: Question, count: int = 1, spare: int = 0) -> None:
        self.question, self.first, self.spare = question, count, spare
        self.count = count
        self._next = 0

    def extend(self) -> bool:
        """Want one sample more; False when there is none to spare."""
        if not self.spare:
            return False
        self.count, self.spare = self.count + 1, self.spare - 1
        return True

    def __iter__(self) -> Draws:
        return self

    def __next__(self) -> int:
        if self._next >= self.count:
            raise StopIteration
        self._next += 1
        return self._next - 1


@dataclass(frozen=True, eq=False)
class Ask:
    """One sample of a question that has to be bought, and the key that its answer is kept under."""

    key: str
    question: Question
    sample: int
    draws: Draws


class Asks(Protocol):
    """Where a teacher gets its work from."""

    def take(self) -> Ask | None:
        """The next question; None when there is none now.  An answer that is counted may bring another."""


class Sink(Protocol):
    """Where a teacher delivers: it writes answers, waits until they are on disk, and only then counts them."""

    def write(self, answers: Sequence[tuple[Ask, Answer]]) -> None:
        """Add answers."""

    def sync(self) -> None:
        """Wait until all that was written is on disk; the one method that may run in another thread."""

    def count(self, answers: Sequence[tuple[Ask, Answer]]) -> None:
        """Count answers that are on disk; what is useless among them may be asked again."""

    def fail(self, ask: Ask, reason: str) -> None:
        """Note that a question got no answer, and why; it is asked again by the next run."""


class Teacher(Protocol):
    """Answers questions and says which request each one is.

    How many round trips that takes, and how many questions one of them carries, is the teacher's own affair.
    """

    @property
    def kind(self) -> Literal["endpoint", "hosted"]: ...

    @property
    def name(self) -> str: ...

    @property
    def origin(self) -> str:
        """Who answers: an endpoint's URL and model, or a fingerprint of the weights.  One answer file an origin."""

    def request(self, question: Question, sample: int) -> Mapping[str, object]:
        """All that the answer depends on beside `origin` and the sample's number; no secret."""

    def ask(self, asks: Asks, sink: Sink) -> None:
        """Ask until there is nothing to take and nothing on its way, in any order."""


# by the standard library, whose output no other package's version changes: keys are to last
canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False).encode


def request_key(teacher: Teacher, question: Question, sample: int = 0) -> str:
    """sha256 of the canonical request: equal exactly when origin, messages, all parameters and the sample are."""
    request = {"origin": teacher.origin, "sample": sample, **teacher.request(question, sample)}
    return hashlib.sha256(canonical(request).encode()).hexdigest()
