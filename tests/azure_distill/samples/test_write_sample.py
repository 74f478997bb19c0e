"""What `azure-distill init` leaves in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from azure_distill.catalog.models import students, teachers
from azure_distill.errors import InvalidJob
from azure_distill.plan.build import build_plan
from azure_distill.samples import DRAWERS
from azure_distill.samples.write import Sizes, write_rows, write_sample
from azure_distill.spec.job import DistillationJob

FILES = ["test_data.jsonl", "validation_data.jsonl", "gold.jsonl", "training_data.jsonl", "job.yaml"]


def read(path: Path) -> list[list[dict[str, str]]]:
    return [json.loads(line)["messages"] for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("task", DRAWERS)
def test_a_sample_is_a_job_that_plans(task: str, tmp_path: Path) -> None:
    folder = tmp_path / "new" / task
    assert sorted(path.name for path in write_sample(task, folder)) == sorted(FILES)
    job = DistillationJob.from_file(folder / "job.yaml")
    plan = build_plan(job, {})
    assert plan.warnings == ()
    names = [step.name for step in plan.steps]
    assert names == [
        "prepare_data", "teacher_adaptation", "teacher_inference", "gold_finetune", "student_finetune", "evaluation",
    ]  # fmt: skip
    assert job.teacher_model.name in teachers()
    assert job.student_model in students()


@pytest.mark.parametrize("task", DRAWERS)
def test_training_rows_are_unanswered_and_no_prompt_is_in_two_files(task: str, tmp_path: Path) -> None:
    write_sample(task, tmp_path)
    counts = {path.stem: len(read(path)) for path in tmp_path.glob("*.jsonl")}
    assert counts == {"training_data": 300, "validation_data": 60, "test_data": 100, "gold": 60}
    assert all(messages[-1]["role"] == "user" for messages in read(tmp_path / "training_data.jsonl"))
    prompts = [json.dumps(m) for m in read(tmp_path / "training_data.jsonl")]
    for name in ("validation_data", "test_data", "gold"):
        answered = read(tmp_path / f"{name}.jsonl")
        assert all(messages[-1]["role"] == "assistant" for messages in answered)
        prompts += [json.dumps(messages[:-1]) for messages in answered]
    assert len(set(prompts)) == len(prompts)


def test_what_stands_in_the_comments_of_the_job_file_is_valid_too(tmp_path: Path) -> None:
    write_sample("nli", tmp_path)
    text = (tmp_path / "job.yaml").read_text(encoding="utf-8")
    commented = text.partition("# teacher_model:")[2].partition("\n\n")[0]
    endpoint = "teacher_model:" + commented.replace("\n# ", "\n")
    values = yaml.safe_load(text) | yaml.safe_load(endpoint)
    values["evaluation"].pop("gold_baseline")
    values["evaluation"] |= {"min_accuracy_gain": 0.05, "min_retention": 0.92}
    values["compute"] = yaml.safe_load("\n".join(line[2:] for line in text.splitlines()[-3:]))["compute"]
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    plan = build_plan(DistillationJob.from_file(tmp_path / "other.yaml"), {})
    assert plan.step("teacher_inference").secrets == ("TEACHER_API_KEY",)


def test_existing_files_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("mine")
    (tmp_path / "gold.jsonl").write_text("mine")
    with pytest.raises(InvalidJob) as caught:
        write_sample("math", tmp_path)
    assert {Path(str(problem.file)).name for problem in caught.value.problems} == {"job.yaml", "gold.jsonl"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gold.jsonl", "job.yaml"]
    assert (tmp_path / "job.yaml").read_text() == "mine"


def test_rows_alone_come_in_any_number(tmp_path: Path) -> None:
    paths = write_rows("conversation", tmp_path, Sizes(training=12, validation=3, test=5, gold=0))
    assert {path.name: len(read(path)) for path in paths} == {
        "training_data.jsonl": 12, "validation_data.jsonl": 3, "test_data.jsonl": 5,
    }  # fmt: skip
