"""The figures as MLflow metrics of the run that Azure ML, or whoever set the tracking address, has begun."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.further import FURTHER
from shared.tracking import Tracker

COSTS = (
    "tokens_per_s",
    "rows_per_s",
    "parameters",
    "weight_bytes",
    "peak_memory_bytes",
    "usd_per_1000_requests",
    "break_even_usd_per_hour",
)


def track(document: Mapping[str, Any]) -> None:
    """Log the figures of metrics.json."""
    with Tracker() as tracker:
        tracker.figures(dict(flat(document)))


def flat(document: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """(`student.accuracy`, 0.91), …: every figure under its place in metrics.json, without the unknown ones."""
    for name, value in _figures(document):
        if value is not None and math.isfinite(value):
            yield name, float(value)


def _figures(document: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    for name in ("retention", "gain"):
        yield name, (document[name] or {}).get("value")
    yield "judge", (document.get("judge") or {}).get("value")
    yield "gate_passed", document["gate"]["passed"]
    for role, contender in document["contenders"].items():
        for name, figure in contender["metrics"].items():
            yield f"{role}.{name}", figure["value"]
        for name in FURTHER:
            yield f"{role}.{name}", (contender.get(name) or {}).get("value")
        yield f"{role}.ece", (contender.get("calibration") or {}).get("ece")
        for kind in ("latency_ms", "ttft_ms"):
            for quantile in ("p50", "p95"):
                yield f"{role}.{kind}.{quantile}", (contender.get(kind) or {}).get(quantile)
        for batch, rate in (contender.get("queries_per_hour") or {}).items():
            yield f"{role}.queries_per_hour.{batch}", rate
        for name in COSTS:
            yield f"{role}.{name}", contender.get(name)
