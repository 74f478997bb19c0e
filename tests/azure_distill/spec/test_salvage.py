"""What can be told of a job although some of its fields are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from azure_distill import DistillationJob
from azure_distill.errors import InvalidJob, Problem
from azure_distill.spec.salvage import salvage

TEACHER = "teacher_model: {name: deepseek-v3, endpoint: 'https://x.test/v1'}"
STUDENT, DATA, TASK = "student_model: phi-4-mini", "training_data: ./train.jsonl", "task_type: conversation"


def salvaged(folder: Path, *lines: str) -> tuple[DistillationJob | None, list[Problem]]:
    path = folder / "job.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(InvalidJob) as error:
        DistillationJob.from_file(path)
    return salvage(path, error.value.problems)


def fields(problems: list[Problem]) -> list[str | None]:
    return [problem.field for problem in problems]


def test_missing_files_and_unknown_models_are_told_beside_wrong_fields(tmp_path: Path) -> None:
    lines = (TEACHER, "student_model: phi4-mini", DATA, TASK, "colour: red", "evaluation: {metrics: [bleu, acuracy]}")
    job, problems = salvaged(tmp_path, *lines)
    assert job is not None
    assert fields(problems)[0] == "colour"
    assert set(fields(problems)) == {
        *("colour", "student_model", "training_data", "evaluation.metrics.0", "evaluation.metrics.1")
    }
    assert all(problem.line for problem in problems)


@pytest.mark.parametrize(
    "lines",
    [
        (STUDENT, DATA, TASK),
        (TEACHER, DATA, TASK),
        ("teacher_model: {endpoint: 'https://x.test/v1'}", STUDENT, DATA, TASK),
        ("teacher_model: [deepseek-v3]", STUDENT, DATA, TASK),
        (TEACHER, "student_model: 3", DATA, TASK),
        (TEACHER, STUDENT, DATA, TASK, "evaluation: {metrics: [accuracy, 1, 2, chrf]}"),
        (TEACHER, STUDENT, DATA, TASK, "compute: {nothing: {}, default: {instance_count: 0}}"),
        (TEACHER, STUDENT, DATA, TASK, "distillation: {method: {logit: 1}, temperature: x}", "labels: [1, 2]"),
    ],
)
def test_wrong_and_missing_parts_leave_a_job_whose_data_can_be_checked(tmp_path: Path, lines: tuple[str, ...]) -> None:
    (tmp_path / "train.jsonl").write_text("{}\n")
    job, problems = salvaged(tmp_path, *lines)
    assert job is not None
    assert job.resolve(job.training_data) == tmp_path / "train.jsonl"
    with pytest.raises(InvalidJob) as error:
        DistillationJob.from_file(tmp_path / "job.yaml")
    assert problems == error.value.problems  # and nothing is said that is not so


def test_a_teacher_with_a_wrong_endpoint_is_not_called_unknown(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("{}\n")
    _, problems = salvaged(tmp_path, "teacher_model: {name: mine, endpoint: 'ftp://x'}", STUDENT, DATA, TASK)
    assert fields(problems) == ["teacher_model.endpoint"]


@pytest.mark.parametrize("lines", [(TEACHER, STUDENT, DATA), (TEACHER, STUDENT, TASK), ("{",), ("- a",), ("",)])
def test_without_task_or_data_there_is_no_job(tmp_path: Path, lines: tuple[str, ...]) -> None:
    job, problems = salvaged(tmp_path, *lines)
    assert job is None
    assert problems


scalars = st.none() | st.booleans() | st.integers() | st.text("abc", max_size=3)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner))
names = st.sampled_from([*DistillationJob.model_fields, "other"])


@given(parts=st.dictionaries(names, values))
def test_whatever_stands_in_a_job_file_salvaging_it_ends(
    tmp_path_factory: pytest.TempPathFactory, parts: dict[str, object]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump({"task_type": "math", "training_data": "x.jsonl", **parts}))
    found = [Problem("whatever was found before")]
    job, problems = salvage(path, found)
    assert problems[:1] == found
    assert job is None or job.task_type == "math"
