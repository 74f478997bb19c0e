"""What asking the teacher will take, before anything is sent: requests, tokens, money and time.

What is counted comes from the job's own rows (`local.preview`); what is assumed is said beside the figures.  Of steps
other than the teacher's nothing is said, for their time is a matter of a machine that nobody has measured.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from azure_distill.plan.plan import Literal, Plan

BYTES_PER_TOKEN = 4  # of English text, in the tokenizers of current models; a character of other scripts has several
LEAST_BYTES_PER_TOKEN = 3  # of code
TOKENS_PER_MESSAGE = 4  # of a chat template, around a message
FIRST_TOKEN = 1.0  # seconds of a request before its answer begins
TOKENS_PER_SECOND = 50  # of one answer, from then on
CONCURRENCY, MAX_TOKENS = 64, 512  # the component's own, where a plan names none


@dataclass(frozen=True)
class Load:
    """What a number of requests takes.

    `cost` is in US dollars, None where the teacher's prices are not known or the teacher is hosted; `seconds` are None
    for a hosted teacher, whose speed is that of a machine.
    """

    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    seconds: float | None


@dataclass(frozen=True)
class Estimate:
    """`expected` is None where nothing tells how long the answers will be; answers bought before cost nothing.

    `most` is when every answer is as long as it may be, and useless once for each time it may be asked again.
    """

    rows: Mapping[str, int]
    expected: Load | None
    most: Load
    assumed: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def estimate(plan: Plan, preview: Mapping[str, Any]) -> Estimate:
    """The estimate of a plan whose questions are known: `preview` is what teacher_inference counted."""
    terms = _Terms.of(plan)
    requests, most = preview["requests"], preview["most_requests"]
    messages = max((len(prompt["messages"]) for prompt in preview["prompts"]), default=1)
    tokens = _tokens(preview["prompt_bytes"]) + requests * messages * TOKENS_PER_MESSAGE
    most_tokens = _tokens(preview["most_prompt_bytes"], LEAST_BYTES_PER_TOKEN) + most * messages * TOKENS_PER_MESSAGE
    answers = preview["answer_bytes"]
    expected = None
    if answers is not None:
        expected = terms.load(requests, tokens, min(_tokens(answers) + requests, requests * terms.max_tokens))
    return Estimate(
        preview["rows"], expected, terms.load(most, most_tokens, most * terms.max_tokens), tuple(_assumed(terms))
    )


def _tokens(size: int, bytes_per_token: int = BYTES_PER_TOKEN) -> int:
    return math.ceil(size / bytes_per_token)


@dataclass(frozen=True)
class _Terms:
    """What a plan says of its teacher."""

    hosted: bool
    max_tokens: int
    prices: Mapping[str, float] | None
    concurrency: int
    requests_per_minute: float | None
    tokens_per_minute: float | None

    @staticmethod
    def of(plan: Plan) -> _Terms:
        sampling, limits, endpoint = (_literal(plan, port) for port in ("sampling", "limits", "endpoint"))
        return _Terms(
            not endpoint,
            int(sampling.get("max_tokens", MAX_TOKENS)),
            endpoint.get("prices"),
            int(limits.get("max_concurrency", CONCURRENCY)),
            limits.get("requests_per_minute"),
            limits.get("tokens_per_minute"),
        )

    def load(self, requests: int, prompt: int, completion: int) -> Load:
        cost = None
        if self.prices:
            cost = (prompt * self.prices["input_per_million"] + completion * self.prices["output_per_million"]) / 1e6
        seconds = None if self.hosted else self._seconds(requests, prompt + completion, completion)
        return Load(requests, prompt, completion, cost, seconds)

    def _seconds(self, requests: int, tokens: int, completion: int) -> float:
        """The slowest of the ceilings: places in flight, requests a minute, tokens a minute."""
        if not requests:
            return 0.0
        latency = FIRST_TOKEN + completion / requests / TOKENS_PER_SECOND
        times = [math.ceil(requests / self.concurrency) * latency]
        times += [60 * requests / self.requests_per_minute] if self.requests_per_minute else []
        times += [60 * tokens / self.tokens_per_minute] if self.tokens_per_minute else []
        return round(max(times), 1)


def _assumed(terms: _Terms) -> list[str]:
    assumed = [
        f"{BYTES_PER_TOKEN} bytes a token, for the most {LEAST_BYTES_PER_TOKEN}",
        f"{TOKENS_PER_MESSAGE} tokens around a message",
        "answers as long as the labels or the references",
        f"at most {terms.max_tokens} tokens an answer",
    ]
    if not terms.hosted:
        at_once = f"{terms.concurrency} requests at a time"
        assumed.append(f"{FIRST_TOKEN:g} s to an answer's first token, then {TOKENS_PER_SECOND} a second; {at_once}")
    ceilings = {"requests": terms.requests_per_minute, "tokens": terms.tokens_per_minute}
    assumed += [f"{value:,.0f} {name} a minute" for name, value in ceilings.items() if value]
    return assumed


def _literal(plan: Plan, port: str) -> dict[str, Any]:
    binding = plan.step("teacher_inference").inputs.get(port)
    value: dict[str, Any] = json.loads(str(binding.value)) if isinstance(binding, Literal) else {}
    return value
