"""From vectors to figures: every metric with its interval, and the student against the others on common rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from evaluation.further import FURTHER, Further
from evaluation.join import Column, Joined
from evaluation.metrics import Array, Metric
from evaluation.statistics import (
    Interval,
    bootstrap_p,
    mcnemar,
    paired_share_difference,
    paired_share_ratio,
    percentiles,
    resampled_sums,
    wilson,
)

Figure = dict[str, Any]
AGAINST = {"gain": "baseline", "over_gold_only": "gold_only", "over_other": "other", "to_teacher": "teacher"}


def quality(joined: Joined, metrics: Mapping[str, Metric], draws: int, seed: int) -> tuple[Figure, Figure]:
    """(by role: by metric {"value", "low", "high", "n"}, by metric: the student's comparisons)."""
    by_role: Figure = {role: {} for role in joined.columns}
    comparisons: Figure = {}
    for name, metric in metrics.items():
        matrices = {role: columns[name].matrix() for role, columns in joined.columns.items()}
        for role, matrix in _same_width(matrices).items():
            by_role[role][name] = estimate(metric, matrix, draws, seed)
        comparisons[name] = _comparisons(metric, _same_width(matrices), draws, seed)
    return by_role, comparisons


def further(columns: Mapping[str, Column], draws: int, seed: int) -> Figure:
    """By name: the figures of `evaluation.further` that a contender has rows for."""
    matrices = {name: column.matrix() for name, column in columns.items()}
    found = {name: estimate(FURTHER[name], matrix, draws, seed) for name, matrix in matrices.items()}
    likely = found["perplexity"]
    if likely:
        _, nats, _, size = matrices["perplexity"].sum(0)
        likely["bits_per_byte"] = float(nats / math.log(2) / size)
    return {name: figure for name, figure in found.items() if figure}


def estimate(metric: Metric | Further, rows: Array, draws: int, seed: int) -> Figure | None:
    """A metric over the scored rows with its interval (Wilson for a proportion, else bootstrap); None without rows."""
    scored = rows[rows[:, 0] > 0]
    n = len(scored)
    if not n:
        return None
    total = scored.sum(0)
    interval: Interval | None
    if metric.proportion:
        interval = wilson(float(total[1]), n)
    else:
        interval = percentiles(metric.value(resampled_sums(scored, draws, seed)))
    low, high = interval or (None, None)
    return {"value": float(metric.value(total)), "low": low, "high": high, "n": n}


def difference(metric: Metric, first: Array, second: Array, draws: int, seed: int) -> Figure | None:
    """first − second over the rows that both answered, with interval and p-value of "no difference"."""
    first, second = _common(first, second)
    n = len(first)
    if not n:
        return None
    value = float(metric.value(first.sum(0)) - metric.value(second.sum(0)))
    interval: Interval | None
    if metric.proportion:
        _, only_first, only_second = _right(first, second)
        interval = paired_share_difference(only_first, only_second, n)
        p, test = mcnemar(only_first, only_second), "exact McNemar"
    else:
        drawn = metric.value(resampled_sums(first, draws, seed)) - metric.value(resampled_sums(second, draws, seed))
        interval = percentiles(drawn)
        p, test = bootstrap_p(drawn), "paired bootstrap"
    low, high = interval or (None, None)
    return {"value": value, "low": low, "high": high, "n": n, "p": p, "test": test}


def ratio(metric: Metric, first: Array, second: Array, draws: int, seed: int) -> Figure | None:
    """first / second over the rows that both answered, with a paired interval; None where second is 0."""
    first, second = _common(first, second)
    if not len(first):
        return None
    top, bottom = float(metric.value(first.sum(0))), float(metric.value(second.sum(0)))
    if not bottom:
        return None
    interval: Interval | None
    if metric.proportion:
        interval = paired_share_ratio(*_right(first, second))
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = metric.value(resampled_sums(first, draws, seed)) / metric.value(resampled_sums(second, draws, seed))
        interval = percentiles(drawn)
    low, high = interval or (None, None)
    return {"value": top / bottom, "low": low, "high": high, "n": len(first)}


def _right(first: Array, second: Array) -> tuple[int, int, int]:
    """How many rows both got right, only the first, and only the second."""
    one, other = first[:, 1] > 0, second[:, 1] > 0
    return int((one & other).sum()), int((one & ~other).sum()), int((~one & other).sum())


def per_label(confusion: Mapping[tuple[str, str], int]) -> Figure:
    """{label: {"precision", "recall", "f1", "support"}} from counts of (target, answer)."""
    labels = sorted({target for target, _ in confusion})
    figures = {}
    for label in labels:
        right = confusion.get((label, label), 0)
        said = sum(count for (_, answer), count in confusion.items() if answer == label)
        true = sum(count for (target, _), count in confusion.items() if target == label)
        figures[label] = {
            "precision": right / said if said else 0.0,
            "recall": right / true,
            "f1": 2 * right / (said + true),
            "support": true,
        }
    return figures


def _comparisons(metric: Metric, matrices: Mapping[str, Array], draws: int, seed: int) -> Figure:
    student = matrices.get("student")
    if student is None:
        return {}
    found = {
        key: difference(metric, student, matrices[role], draws, seed)
        for key, role in AGAINST.items()
        if role in matrices
    }
    if "teacher" in matrices:
        found["retention"] = ratio(metric, student, matrices["teacher"], draws, seed)
    return {key: figure for key, figure in found.items() if figure is not None}


def _common(first: Array, second: Array) -> tuple[Array, Array]:
    both = (first[:, 0] > 0) & (second[:, 0] > 0)
    return first[both], second[both]


def _same_width(matrices: Mapping[str, Array]) -> dict[str, Array]:
    """Fill with zeros to the widest: a label that only one contender named has a place for all."""
    width = max((matrix.shape[1] for matrix in matrices.values()), default=1)
    return {role: np.pad(matrix, ((0, 0), (0, width - matrix.shape[1]))) for role, matrix in matrices.items()}
