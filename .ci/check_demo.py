"""Check the demo that has just run against the figures that the README states, then that a second run is all cached."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from typing import Any

GFLOPS = 140
"""What two cores with AVX2 do at 2.2 GHz: 32 float32 operations a cycle each.  They have 480 seconds for the demo,
slower ones more in proportion."""
COMMAND = [sys.argv[1] if len(sys.argv) > 1 else ".venv/bin/azure-distill"]


def answer(*arguments: str) -> Any:
    """What a verb prints as JSON."""
    return json.loads(subprocess.run([*COMMAND, *arguments, "--json"], check=True, stdout=subprocess.PIPE).stdout)


def check(name: str, value: float, passed: bool) -> bool:
    print(f"{'ok    ' if passed else 'FAILED'} {name}: {value:.4g}")
    return passed


def slowness() -> float:
    """How many times as long as at `GFLOPS` this machine takes to multiply matrices; at least 1."""
    import torch

    rows, weights = torch.ones(2048, 576), torch.ones(576, 1536)
    spent = []
    for _ in range(50):
        begin = time.perf_counter()
        rows @ weights
        spent.append(time.perf_counter() - begin)
    return max(1.0, GFLOPS * 1e9 * statistics.median(spent) / (2 * 2048 * 576 * 1536))


def main() -> None:
    run = answer("status", "last")
    contenders = run["metrics"]["contenders"]
    teacher, student = contenders["teacher"], contenders["student"]
    accuracy = {role: contender["metrics"]["accuracy"]["value"] for role, contender in contenders.items()}
    retention = accuracy["student"] / accuracy["teacher"]
    latency = student["latency_ms"]["p50"] / teacher["latency_ms"]["p50"]
    weights = student["weight_bytes"] / teacher["weight_bytes"]
    seconds = sum(step["seconds"] or 0 for step in run["steps"].values())
    limit = 480 * slowness()
    begin = time.monotonic()
    again = answer("run", "jobs/bbc_topics.yaml")
    second = time.monotonic() - begin
    results = [
        check("teacher's accuracy, at least 0.92", accuracy["teacher"], accuracy["teacher"] >= 0.92),
        check("student's share of it, at least 0.92", retention, retention >= 0.92),
        check("gold-only student's accuracy, at most 0.70", accuracy["gold_only"], accuracy["gold_only"] <= 0.70),
        check("student's share of the teacher's p50, at most 0.15", latency, latency <= 0.15),
        check("student's share of the teacher's weights, at most 0.05", weights, weights <= 0.05),
        check("held-out rows, 400", student["n"], student["n"] == 400),
        check(f"seconds of all steps, at most {limit:.0f}", seconds, seconds <= limit),
        check("seconds of the second run, at most 3", second, second <= 3),
        check("steps cached in it, all", 1, all(step["cached"] for step in again["steps"].values())),
    ]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
