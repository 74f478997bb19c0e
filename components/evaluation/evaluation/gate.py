"""The gate: what the student must reach before it can be registered.

A check is `NAME >= NUMBER` (also `>`, `<=`, `<`).  NAME is a metric of the student (`accuracy`), its gain over the
untrained student (`accuracy_gain`), its share of the teacher's figure (`accuracy_retention`), `gain` or `retention`
of the headline metric, a further figure (`format_validity`, `ece`, …), or a cost (`inference_time`, `weight_bytes`,
…).  In a mapping, `min_NAME` and `max_NAME` say the same with a number.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.further import FURTHER
from evaluation.metrics import ALIASES, LATENCY
from evaluation.suggest import unknown
from shared.errors import Problem

OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
COSTS = ("parameters", "weight_bytes", "peak_memory_bytes", "tokens_per_s")
FURTHER_NAMES = (*FURTHER, "ece")
FORM = re.compile(r"\s*(\w+)\s*(>=|<=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")
NEEDS = {
    "gain": "needs the untrained student",
    "retention": "needs the teacher",
    "further": "this student, task or data has none",
}
FIELD = "settings.gate"


@dataclass(frozen=True)
class Check:
    """One demand.  `aspect` is value, gain, retention, further or cost; `metric` is None for the last two."""

    text: str
    name: str
    aspect: str
    metric: str | None
    relation: str
    bound: float


def parse_checks(
    gate: object, minimums: Mapping[str, Any], headline: str, metrics: Sequence[str]
) -> tuple[tuple[Check, ...], list[Problem]]:
    """The checks of a gate (a list of texts or a mapping of numbers), and what is wrong with it.

    `minimums` are further `min_NAME` numbers; `metrics` the names that apply to the task.
    """
    demands: dict[str, object] = dict(minimums)
    texts: list[str] = []
    if isinstance(gate, Mapping):
        demands |= gate
    elif isinstance(gate, list) and all(isinstance(text, str) for text in gate):
        texts = gate
    elif gate is not None:
        return (), [Problem("must be a list of checks", field=FIELD, hint='such as ["accuracy >= 0.9"]')]
    parsed = [_from_number(key, value, headline, metrics) for key, value in demands.items()]
    parsed += [_from_text(text, headline, metrics) for text in texts]
    checks = tuple(check for check in parsed if isinstance(check, Check))
    return checks, [problem for problem in parsed if isinstance(problem, Problem)]


def judge(checks: Sequence[Check], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """`{"passed", "checks": [{"check", "value", "passed", "reason"?}]}` from the figures of metrics.json.

    A figure that could not be measured fails its check; so does a student that could not be evaluated.
    """
    results = [_judge(check, metrics) for check in checks]
    student = metrics["contenders"].get("student", {"status": "ok"})
    if student["status"] == "failed":
        reason = student["error"]
        results.insert(0, {"check": "the student was evaluated", "value": None, "passed": False, "reason": reason})
    return {"passed": all(result["passed"] for result in results), "checks": results}


def _judge(check: Check, metrics: Mapping[str, Any]) -> dict[str, Any]:
    value = _figure(check, metrics)
    if value is None:
        reason = f"not measured: {NEEDS.get(check.aspect, 'needs the student')}"
        return {"check": check.text, "value": None, "passed": False, "reason": reason}
    return {"check": check.text, "value": value, "passed": bool(OPERATORS[check.relation](value, check.bound))}


def _figure(check: Check, metrics: Mapping[str, Any]) -> float | None:
    student = metrics["contenders"].get("student", {})
    if check.aspect == "cost":
        return student.get(check.name)  # type: ignore[no-any-return]
    if check.aspect == "further":
        figure = student.get("calibration" if check.name == "ece" else check.name)
        return figure["ece" if check.name == "ece" else "value"] if figure else None
    if check.aspect == "value":
        figure = student.get("metrics", {}).get(check.metric)
    else:
        figure = metrics["comparisons"].get(check.metric, {}).get(check.aspect)
    return figure["value"] if figure else None


def _from_number(key: str, value: object, headline: str, metrics: Sequence[str]) -> Check | Problem:
    bound, _, name = key.partition("_")
    if bound not in ("min", "max") or not name:
        return Problem(f"unknown key {key!r}", field=FIELD, hint="min_NAME or max_NAME, such as min_accuracy_gain")
    if not isinstance(value, int | float) or isinstance(value, bool):
        return Problem("must be a number", field=f"{FIELD}.{key}")
    return _check(name, ">=" if bound == "min" else "<=", float(value), headline, metrics)


def _from_text(text: str, headline: str, metrics: Sequence[str]) -> Check | Problem:
    match = FORM.fullmatch(text)
    if not match:
        return Problem(f"{text!r} is no check", field=FIELD, hint='such as "accuracy >= 0.9"')
    return _check(match[1], match[2], float(match[3]), headline, metrics)


def _check(name: str, relation: str, bound: float, headline: str, metrics: Sequence[str]) -> Check | Problem:
    name = ALIASES.get(name, name)
    text = f"{name} {relation} {bound:g}"
    if name in COSTS:
        return Check(text, name, "cost", None, relation, bound)
    if name in FURTHER_NAMES:
        return Check(text, name, "further", None, relation, bound)
    if name in metrics:
        return Check(text, name, "value", name, relation, bound)
    if name in ("gain", "retention"):
        return Check(text, name, name, headline, relation, bound)
    metric, _, aspect = name.rpartition("_")
    if metric in metrics and metric != LATENCY and aspect in ("gain", "retention"):
        return Check(text, name, aspect, metric, relation, bound)
    return unknown("figure", name, (*metrics, "accuracy_gain", "gain", "retention", *FURTHER_NAMES, *COSTS), FIELD)
