"""The estimate is arithmetic on what teacher_inference counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from azure_distill import DistillationJob
from azure_distill.plan.build import build_plan
from azure_distill.plan.estimate import FIRST_TOKEN, TOKENS_PER_SECOND, Estimate, estimate

COUNTED = {
    "rows": {"train": 100, "test": 20},
    "requests": 110,
    "most_requests": 220,
    "prompt_bytes": 4400,
    "most_prompt_bytes": 8800,
    "answer_bytes": 440,
    "prompts": [{"messages": [{}, {}]}],
}


def estimated(folder: Path, counted: dict[str, Any] = COUNTED, **teacher: Any) -> Estimate:
    (folder / "train.jsonl").write_text("")
    where = {} if "path" in teacher else {"endpoint": "http://127.0.0.1:9/v1"}
    job = DistillationJob(
        teacher_model={"name": "t", "sampling": {"max_tokens": 100}, **where, **teacher},
        student_model="nano-llama",
        training_data=str(folder / "train.jsonl"),
        task_type="conversation",
    )
    return estimate(build_plan(job, {}), counted)


def test_tokens_and_money(tmp_path: Path) -> None:
    found = estimated(tmp_path, prices={"input_per_million": 2, "output_per_million": 8})
    assert found.expected
    # a quarter of the bytes, four tokens for each of two messages, one to end an answer
    assert (found.expected.requests, found.expected.prompt_tokens) == (110, 1100 + 110 * 8)
    assert found.expected.completion_tokens == 110 + 110
    assert found.expected.cost == pytest.approx((1980 * 2 + 220 * 8) / 1e6)
    assert (found.most.requests, found.most.completion_tokens) == (220, 22_000)
    # a third of the bytes
    assert found.most.prompt_tokens == 2934 + 220 * 8
    assert found.most.cost == pytest.approx((found.most.prompt_tokens * 2 + 22_000 * 8) / 1e6)


def test_time_is_that_of_the_slowest_ceiling(tmp_path: Path) -> None:
    def seconds(**teacher: Any) -> float | None:
        found = estimated(tmp_path, **teacher)
        assert found.expected
        return found.expected.seconds

    latency = FIRST_TOKEN + 2 / TOKENS_PER_SECOND  # answers of two tokens
    assert seconds() == pytest.approx(2 * latency, abs=0.05)
    assert seconds(max_concurrency=10) == pytest.approx(11 * latency, abs=0.05)
    assert seconds(requests_per_minute=10) == pytest.approx(660)
    assert seconds(requests_per_minute=10, tokens_per_minute=100) == pytest.approx(60 * 2200 / 100)
    assert any("10 requests a minute" in text for text in estimated(tmp_path, requests_per_minute=10).assumed)


def test_without_prices_there_is_no_cost_and_a_hosted_teacher_has_no_time(tmp_path: Path) -> None:
    assert estimated(tmp_path).most.cost is None
    (tmp_path / "config.json").write_text("{}")
    hosted = estimated(tmp_path, path=str(tmp_path))
    assert (hosted.most.cost, hosted.most.seconds) == (None, None)


def test_nothing_is_expected_of_answers_whose_length_nothing_tells(tmp_path: Path) -> None:
    found = estimated(tmp_path, COUNTED | {"answer_bytes": None})
    assert found.expected is None
    assert found.most.completion_tokens == 22_000
