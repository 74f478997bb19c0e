"""Figures beside the task's metrics: what probabilities, form and facts of the answers tell.

Each is a vector per row and a function of the vectors' sum, as a metric is, so it gets its interval the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evaluation.metrics import Array, mean_of

BINS = 10
TINY = 1e-38  # a probability that float32 rounds to 0; its logarithm stays finite


def perplexity(sums: Array) -> Array:
    """exp(nats / tokens) of summed vectors (1, nats, tokens, bytes)."""
    return np.asarray(np.exp(np.minimum(sums[..., 1] / np.maximum(sums[..., 2], 1), 700)))


@dataclass(frozen=True)
class Further:
    """How a figure's summed vectors become its value; `proportion` marks a share of rows, as in `Metric`."""

    value: Callable[[Array], Array] = mean_of
    proportion: bool = False


FURTHER = {
    "agreement": Further(proportion=True),
    "format_validity": Further(proportion=True),
    "fact_recall": Further(),
    "kl_to_teacher": Further(),
    "perplexity": Further(perplexity),
}


def row_vectors(
    given: Mapping[str, Any], teacher: Mapping[str, Any] | None, facts: Sequence[str]
) -> Iterator[tuple[str, list[float]]]:
    """(name, vector) of every further figure but agreement that one answer has.

    `teacher` is the teacher's answer to the row, None for the teacher's own.
    """
    if given.get("valid") is not None:
        yield "format_validity", [1.0, float(given["valid"])]
    if facts:
        yield "fact_recall", [1.0, recall(given["answer"], facts)]
    if given.get("likelihood"):
        yield "perplexity", [1.0, *map(float, given["likelihood"])]
    if teacher and teacher.get("probabilities") and given.get("probabilities"):
        nats = divergence(teacher["probabilities"], given["probabilities"])
        if nats is not None:
            yield "kl_to_teacher", [1.0, nats]


def recall(answer: str, facts: Sequence[str]) -> float:
    """The share of `facts` that stand in an answer, whatever their case and white space."""
    text = _plain(answer)
    return sum(_plain(fact) in text for fact in facts) / len(facts)


def divergence(teacher: Mapping[str, float], other: Mapping[str, float]) -> float | None:
    """KL(teacher ‖ other) in nats; None where they are not over the same candidates."""
    if teacher.keys() != other.keys():
        return None
    terms = (share * (math.log(share) - math.log(max(other[label], TINY))) for label, share in teacher.items() if share)
    return max(0.0, sum(terms))


@dataclass
class Calibration:
    """How often answers are right at each level of confidence, the probability of the answer that was given.

    The expected calibration error is Σ n_b / n · |accuracy_b − confidence_b| over ten bins of equal width
    (Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017).
    """

    rows: list[int] = field(default_factory=lambda: [0] * BINS)
    confidence: list[float] = field(default_factory=lambda: [0.0] * BINS)
    right: list[int] = field(default_factory=lambda: [0] * BINS)

    def add(self, confidence: float, correct: bool) -> None:
        place = min(BINS - 1, int(confidence * BINS))
        self.rows[place] += 1
        self.confidence[place] += confidence
        self.right[place] += correct

    def to_json(self) -> dict[str, Any] | None:
        """{"ece", "n", "bins"}; bins without rows are left out, None without any."""
        n = sum(self.rows)
        if not n:
            return None
        sums = list(zip(self.rows, self.confidence, self.right, strict=True))
        return {
            "ece": sum(abs(right - confidence) for _, confidence, right in sums) / n,
            "n": n,
            "bins": [
                {
                    "low": place / BINS,
                    "high": (place + 1) / BINS,
                    "n": rows,
                    "confidence": confidence / rows,
                    "accuracy": right / rows,
                }
                for place, (rows, confidence, right) in enumerate(sums)
                if rows
            ],
        }


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
