"""What asking the teacher will take, before anything is sent: requests, tokens, money."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from azure_distill.plan.plan import DataPath, Literal, Plan

CHARACTERS_PER_TOKEN = 4  # of English text, in the tokenizers of current models


@dataclass(frozen=True)
class Estimate:
    """At most this much: duplicates are asked once, stored answers not at all, and answers end before `max_tokens`.

    `cost` is in US dollars; None where the teacher's prices are not known or the teacher is hosted.
    """

    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def estimate(plan: Plan) -> Estimate | None:
    """The estimate of a plan whose data are JSON lines on this machine; None for any other."""
    step = plan.step("prepare_data")
    asked = [step.inputs.get(port) for port in ("training_data", "test_data")]
    files = [binding.path for binding in asked if isinstance(binding, DataPath)]
    if not files or any(file.suffix.lower() != ".jsonl" for file in files):
        return None
    counts = [_count(file) for file in files]
    requests, characters = (sum(part) for part in zip(*counts, strict=True))
    sampling, endpoint = _literal(plan, "sampling"), _literal(plan, "endpoint")
    prompt, completion = characters // CHARACTERS_PER_TOKEN, requests * int(sampling.get("max_tokens", 0))
    prices = endpoint.get("prices")
    cost = prices and (prompt * prices["input_per_million"] + completion * prices["output_per_million"]) / 1e6
    return Estimate(requests, prompt, completion, cost)


def _count(file: Path) -> tuple[int, int]:
    """(rows, characters); a row's answer counts too, which stands for the chat template around its question."""
    rows = size = 0
    with file.open("rb") as lines:
        for line in lines:
            if line.strip():
                rows, size = rows + 1, size + len(line)
    return rows, size


def _literal(plan: Plan, port: str) -> dict[str, Any]:
    binding = plan.step("teacher_inference").inputs.get(port)
    value: dict[str, Any] = json.loads(str(binding.value)) if isinstance(binding, Literal) else {}
    return value
