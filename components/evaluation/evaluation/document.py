"""metrics.json: every figure of the evaluation in one document (its fields are described in docs/evaluation.md)."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from evaluation.arguments import Arguments
from evaluation.contenders import Outcome
from evaluation.figures import further, per_label
from evaluation.gate import judge
from evaluation.heldout import HeldOut, TeacherAnswers
from evaluation.join import Joined
from evaluation.metrics import LATENCY, PERCENT, Metric
from evaluation.statistics import median_interval
from evaluation.verdict import notes, summary

PACKAGES = ("torch", "transformers", "numpy", "sacrebleu", "rouge-score", "math-verify")
HOW = {"endpoint": "endpoint, network included", "hosted": "as hosted while it was asked"}


def build_document(
    arguments: Arguments,
    test: HeldOut,
    stored: TeacherAnswers | None,
    outcomes: Mapping[str, Outcome],
    joined: Joined,
    by_role: Mapping[str, dict[str, Any]],
    comparisons: Mapping[str, Any],
    metrics: Mapping[str, Metric],
) -> dict[str, Any]:
    """Everything that metrics.json holds, the sentences and the gate's judgement included."""
    settings = arguments.settings
    contenders = {
        role: _contender(outcome, stored, test, joined, by_role.get(role, {}), arguments)
        for role, outcome in outcomes.items()
    }
    _break_even(contenders)
    headline = comparisons.get(settings.headline, {})
    document: dict[str, Any] = {
        "task": arguments.task.name,
        "headline": settings.headline,
        "n": test.references or test.rows,
        "basis": joined.basis,
        "rows": _rows(test),
        "contenders": contenders,
        "comparisons": comparisons,
        "retention": headline.get("retention"),
        "gain": headline.get("gain"),
        "judge": joined.judgement,
        "majority_share": _majority_share(joined),
        "reductions": reductions(contenders, settings.headline),
        "signatures": {name: metric.signature for name, metric in metrics.items() if metric.signature},
        "scales": {name: 100 if name in PERCENT else 1 for name in metrics},
        "lineage": settings.lineage,
        "provenance": _provenance(arguments, test),
    }
    document["summary"], document["notes"] = summary(document), notes(document)
    document["gate"] = judge(settings.gate, document)
    return document


def _rows(test: HeldOut) -> dict[str, int]:
    missing = test.rows - test.references
    return {"test": test.rows, "with_reference": test.references, "without_reference": missing}


def reductions(contenders: Mapping[str, Any], headline: str) -> dict[str, dict[str, float]]:
    """Teacher, student and the reduction (1 − student / teacher) of each cost, and of the headline metric.

    Only what both have: a teacher behind an endpoint has no known size.
    """
    teacher, student = contenders.get("teacher", {}), contenders.get("student", {})
    pairs = {
        "parameters": [side.get("parameters") for side in (teacher, student)],
        "weight_bytes": [side.get("weight_bytes") for side in (teacher, student)],
        "peak_memory_bytes": [side.get("peak_memory_bytes") for side in (teacher, student)],
        "inference_time_ms": [(side.get("latency_ms") or {}).get("p50") for side in (teacher, student)],
        "rows_per_s": [side.get("rows_per_s") for side in (teacher, student)],
        headline: [(side.get("metrics", {}).get(headline) or {}).get("value") for side in (teacher, student)],
    }
    return {
        name: {"teacher": before, "student": after, "reduction": 1 - after / before}
        for name, (before, after) in pairs.items()
        if before and after is not None
    }


def _contender(
    outcome: Outcome,
    stored: TeacherAnswers | None,
    test: HeldOut,
    joined: Joined,
    figures: Mapping[str, Any],
    arguments: Arguments,
) -> dict[str, Any]:
    contender, settings = outcome.contender, arguments.settings
    value: dict[str, Any] = {"name": contender.name, "kind": "local" if contender.local else "endpoint"}
    if outcome.error:
        return value | {"status": "failed", "error": outcome.error, "n": 0, "metrics": {}}
    cost = dict(outcome.cost)
    cost["usd_per_1000_requests"] = None
    if not contender.asked and stored:
        unanswered = test.rows - len(stored.by_id)
        cost |= {"unanswered": unanswered, "rejected": stored.rejected}
        cost["usd_per_1000_requests"] = price_per_thousand(stored.usage)
        cost |= {} if "latency_ms" in cost else _latency_of_usage(stored.usage)
    if contender.role == "teacher" and not contender.local and settings.teacher_parameters:
        cost["parameters"] = settings.teacher_parameters
    shown = {name: figure for name, figure in figures.items() if figure}
    if LATENCY in settings.metrics and cost.get("latency_ms"):
        shown[LATENCY] = _inference_time(cost["latency_ms"], settings.bootstrap, settings.seed)
    labels = per_label(joined.confusion.get(contender.role, Counter()))
    return {
        **value,
        "status": "ok",
        "n": next((figure["n"] for figure in figures.values() if figure), joined.answered[contender.role]),
        "metrics": shown,
        **further(joined.further[contender.role], settings.bootstrap, settings.seed),
        "calibration": joined.calibration[contender.role].to_json(),
        **cost,
        **({"labels": labels, "confusion": _confusion(joined.confusion[contender.role])} if labels else {}),
    }


def _latency_of_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    latency = usage.get("latency_ms")
    if not latency or latency.get("p50") is None:
        return {}
    how = HOW.get(str(usage.get("kind")), HOW["endpoint"])
    return {"latency_ms": {"p50": latency["p50"], "p95": latency.get("p95"), "how": how, "n": usage.get("requests")}}


def price_per_thousand(usage: Mapping[str, Any]) -> float | None:
    """US dollars for 1,000 answers like those in the store; None where its prices are unknown.

    `total` counts every answer that the rows use, whenever it was bought; the top level of usage.json only what its
    last run bought.
    """
    for spent, count in ((usage.get("total") or {}, "answers"), (usage, "requests")):
        if spent.get("cost") is not None and spent.get(count):
            return float(1000 * spent["cost"] / spent[count])
    return None


def _break_even(contenders: Mapping[str, dict[str, Any]]) -> None:
    """What an hour of this machine may cost for a local model, kept busy, to answer at the teacher's price."""
    price = contenders.get("teacher", {}).get("usd_per_1000_requests")
    for contender in contenders.values():
        rates = contender.get("queries_per_hour")
        if price and rates:
            contender["break_even_usd_per_hour"] = price * max(rates.values()) / 1000


def _inference_time(latency: Mapping[str, Any], draws: int, seed: int) -> dict[str, Any]:
    """The median in milliseconds; an interval only where the single times are known."""
    samples = latency.get("samples")
    low, high = median_interval(samples, draws, seed) if samples else (None, None)
    return {"value": latency["p50"], "low": low, "high": high, "n": latency.get("n")}


def _confusion(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """{reference: {answer: rows}}"""
    table: dict[str, dict[str, int]] = {}
    for (target, answer), count in sorted(counts.items()):
        table.setdefault(target, {})[answer] = count
    return table


def _majority_share(joined: Joined) -> float | None:
    """The share of the most frequent label: what a model reaches that always says it.  None for free text."""
    for counts in joined.confusion.values():
        targets = Counter[str]()
        for (target, _), count in counts.items():
            targets[target] += count
        if targets:
            return max(targets.values()) / targets.total()
    return None


def _provenance(arguments: Arguments, test: HeldOut) -> dict[str, Any]:
    settings = arguments.settings
    return {
        "command": arguments.command,
        "test_sha256": test.digest,
        "task": arguments.task_text,
        "seed": settings.seed,
        "bootstrap": settings.bootstrap,
        "latency_rows": settings.latency_rows,
        "max_new_tokens": settings.max_new_tokens,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "versions": dict(_versions(PACKAGES)),
    }


def _versions(packages: Iterable[str]) -> Iterable[tuple[str, str]]:
    for package in packages:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue
