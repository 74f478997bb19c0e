"""Data files are checked by the component that will prepare them; data in the cloud is left alone."""

from __future__ import annotations

from pathlib import Path

from azure_distill import DistillationJob
from azure_distill.local.data_check import check_data
from azure_distill.local.paths import Home
from azure_distill.plan.build import data_step


def job(training_data: str, **others: str) -> DistillationJob:
    return DistillationJob(
        teacher_model={"name": "t", "endpoint": "http://127.0.0.1:9/v1"},
        student_model="nano-llama",
        training_data=training_data,
        task_type="conversation",
        **others,
    )


def test_problems_name_the_users_own_file(tmp_path: Path) -> None:
    rows = tmp_path / "rows of mine.jsonl"
    rows.write_text('{"messages": []}\n')
    problems, _ = check_data(data_step(job(str(rows))), Home.locate())
    assert {(problem.file, problem.line) for problem in problems} >= {(str(rows), 1)}


def test_data_in_the_cloud_is_not_asked_for_here(tmp_path: Path) -> None:
    local = tmp_path / "validation.jsonl"
    local.write_text("not json\n")
    step = data_step(job("azureml:rows:1", validation_data=str(local)))
    assert check_data(step, Home.locate()) == ([], [])
