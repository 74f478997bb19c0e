"""The estimate counts what the teacher will be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from azure_distill import DistillationJob
from azure_distill.plan.build import build_plan
from azure_distill.plan.estimate import estimate


def plan_of(folder: Path, **teacher: Any) -> Any:
    row = '{"messages": [{"role": "user", "content": "' + "a" * 40 + '"}]}\n'
    (folder / "train.jsonl").write_text(row * 3 + "\n")
    (folder / "test.jsonl").write_text(row)
    job = DistillationJob(
        teacher_model={"name": "t", "endpoint": "http://127.0.0.1:9/v1", "sampling": {"max_tokens": 100}} | teacher,
        student_model="nano-llama",
        training_data=str(folder / "train.jsonl"),
        test_data=str(folder / "test.jsonl"),
        task_type="conversation",
    )
    return build_plan(job, {}), 4 * len(row)


def test_rows_tokens_and_money(tmp_path: Path) -> None:
    plan, characters = plan_of(tmp_path, prices={"input_per_million": 2, "output_per_million": 8})
    found = estimate(plan)
    assert found is not None
    assert (found.requests, found.prompt_tokens, found.completion_tokens) == (4, characters // 4, 400)
    assert found.cost == pytest.approx((characters // 4 * 2 + 400 * 8) / 1e6)


def test_without_prices_there_is_no_cost(tmp_path: Path) -> None:
    found = estimate(plan_of(tmp_path)[0])
    assert found is not None
    assert found.cost is None
