"""What a run costs: requests, tokens, money and waiting."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

from shared.errors import InvalidInput, Problem
from teacher_inference.settings import Prices
from teacher_inference.teacher import Answer

COUNTS = (
    "requests", "retries", "throttled", "reused", "bought", "asked_again", "prompt_tokens", "completion_tokens"
)  # fmt: skip


@dataclass
class Meter:
    """Counts of this run alone; what earlier runs bought counts as `reused`.

    `limit` is how many requests may be in flight at the moment, and `waiting` for how long they have been, where no
    answer comes; `adapted` what the endpoint would not take; `stored` how many of the reused answers earlier runs have
    bought, the others being shared by rows.
    """

    prices: Prices | None = None
    requests: int = 0
    retries: int = 0
    throttled: int = 0
    reused: int = 0
    bought: int = 0
    asked_again: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    limit: int = 0
    stored: int = 0
    waiting: str = ""
    adapted: list[str] = field(default_factory=list)

    def __add__(self, other: Meter) -> Meter:
        """The counts of two teachers together; priced where both have the same prices."""
        counts = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        prices = self.prices if self.prices == other.prices else None
        return Meter(prices, **counts, limit=self.limit + other.limit, adapted=self.adapted + other.adapted)

    def add(self, answer: Answer) -> None:
        self.bought += 1
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens

    @property
    def cost(self) -> float | None:
        return self.prices.cost(self.prompt_tokens, self.completion_tokens) if self.prices else None

    def facts(self) -> dict[str, object]:
        """What the progress line says beside rows; nothing for a teacher that is no endpoint."""
        if not self.requests:
            return {}
        counts = {"requests": self.requests, "retries": self.retries, "throttled": self.throttled}
        tokens = {"tokens": f"{self.prompt_tokens} + {self.completion_tokens}"}
        facts = {**counts, "limit": self.limit, **tokens} | ({"cost": self.cost} if self.prices else {})
        return facts | ({"waiting": self.waiting} if self.waiting else {})

    def to_json(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in COUNTS}
        return counts | {"cost": self.cost, "limit": self.limit or None, "adapted": self.adapted}


class Budget:
    """Refuses a request that might bring what this run spends above `max_cost`."""

    def __init__(self, prices: Prices | None, max_cost: float | None) -> None:
        if max_cost is not None and prices is None:
            raise InvalidInput(Problem("needs the endpoint's prices", field="limits.max_cost"))
        self.prices, self.max_cost = prices, max_cost
        self.spent = self.reserved = 0.0
        self.answers = 0

    def reserve(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Set the most that a request can cost aside, until it is settled.

        None when that is too much only if all requests in flight cost the most they can: ask again later.  Raises
        InvalidInput when it is too much.
        """
        if self.max_cost is None or self.prices is None:
            return 0.0
        amount = self.prices.cost(prompt_tokens, completion_tokens)
        if self.spent + self.reserved + amount <= self.max_cost:
            self.reserved += amount
            return amount
        if self.reserved > 1e-12 and self.spent + amount <= self.max_cost:
            return None
        raise InvalidInput(
            Problem(
                f"reached: {self.spent:.4g} of {self.max_cost:g} spent on {self.answers} answers, which are kept",
                field="limits.max_cost",
                hint=f"the next one may cost {amount:.2g}; run again, or raise it: only what is missing is asked",
            )
        )

    def settle(self, reserved: float, answer: Answer | None, lost: bool = False) -> None:
        """Replace a reservation by what the request did cost: nothing where the endpoint refused it.

        A request that was `lost` on its way back may have been answered and is taken to cost the most it can, as is
        an answer without counts of tokens; Azure charges for a prompt that its content filter refuses.
        """
        self.reserved -= reserved
        if answer is not None and self.prices is not None:
            known = self.prices.cost(answer.prompt_tokens, answer.completion_tokens)
            self.spent += known if answer.prompt_tokens else reserved
            self.answers += 1
        elif lost:
            self.spent += reserved


class Totals:
    """Sums over the answers that a run's rows use, whenever they were bought."""

    def __init__(self) -> None:
        self.answers = self.prompt_tokens = self.completion_tokens = 0
        self.latencies = array("f")

    def add(self, answer: Answer) -> None:
        self.answers += 1
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens
        if answer.latency_ms is not None:
            self.latencies.append(answer.latency_ms)

    def latency_ms(self) -> dict[str, float | None]:
        return {"p50": percentile(self.latencies, 0.5), "p95": percentile(self.latencies, 0.95)}

    def to_json(self, prices: Prices | None) -> dict[str, float | None]:
        cost = prices.cost(self.prompt_tokens, self.completion_tokens) if prices else None
        tokens = {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens}
        return {"answers": self.answers, **tokens, "cost": cost}


def percentile(values: array[float], share: float) -> float | None:
    """The least value that `share` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return round(ordered[max(0, -int(-share * len(ordered) // 1) - 1)], 3) if ordered else None
