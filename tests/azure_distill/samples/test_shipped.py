"""The data files that ship with the project: example jobs and their rows, and the catalog."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from azure_distill.catalog import models
from azure_distill.catalog.models import students, teachers
from azure_distill.plan.build import build_plan
from azure_distill.samples import DRAWERS
from azure_distill.samples.write import Sizes, write_rows
from azure_distill.spec.job import DistillationJob, Hyperparameters

ROOT = Path(__file__).parents[3]
COMMITTED = Sizes(training=80, validation=20, test=40, gold=0)


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("task", DRAWERS)
def test_an_example_job_plans(task: str) -> None:
    job = DistillationJob.from_file(ROOT / "jobs" / f"{task}.yaml")
    assert job.task_type == task
    plan = build_plan(job, {})
    assert [step.name for step in plan.steps] == ["prepare_data", "teacher_inference", "student_finetune", "evaluation"]


def test_the_customer_support_job_plans_with_its_data(tmp_path: Path) -> None:
    shutil.copy(ROOT / "jobs" / "customer_support.yaml", tmp_path)
    write_rows("conversation", tmp_path / "data" / "customer_support", Sizes(20, 5, 5, 0))
    plan = build_plan(DistillationJob.from_file(tmp_path / "customer_support.yaml"), {})
    assert plan.step("teacher_inference").secrets == ("TEACHER_API_KEY",)


@pytest.mark.parametrize("task", DRAWERS)
def test_the_committed_rows_are_the_generators(task: str, tmp_path: Path) -> None:
    for path in write_rows(task, tmp_path, COMMITTED):
        committed = ROOT / "jobs" / "data" / task / path.name
        assert committed.read_bytes() == path.read_bytes()
        assert len(path.read_bytes()) < 60_000


def test_every_price_says_when_and_where_it_is_from() -> None:
    for model in teachers().values():
        if model.prices:
            assert set(model.prices) == {"input_per_million", "output_per_million", "as_of", "source"}
            assert date.fromisoformat(model.prices["as_of"])
            assert model.prices["input_per_million"] <= model.prices["output_per_million"]


def test_a_teacher_can_be_reached_in_the_way_it_says() -> None:
    for model in teachers().values():
        assert model.access in ("endpoint", "hosted", "both")
        assert (model.endpoint_model is not None) == (model.access != "hosted")
        assert (model.weights is not None) == (model.access != "endpoint")


def test_a_student_has_weights_or_a_recipe_and_a_valid_preset() -> None:
    skus = load(Path(models.__file__).with_name("skus.yaml"))
    for model in students().values():
        assert (model.weights is None) != (model.recipe is None)
        for rank in (0, 8) if model.weights else (0,):
            assert Hyperparameters(**model.hyperparameters({"lora_rank": rank})).learning_rate
        assert model.gpu_sku is None or skus[model.gpu_sku]["gpu_memory_gb"] >= (model.min_gpu_memory_gb or 0)


def test_every_priced_machine_says_when_and_where_its_price_is_from() -> None:
    for sku in load(Path(models.__file__).with_name("skus.yaml")).values():
        assert set(sku) == {"vcpus", "memory_gb", "gpu", "gpus", "gpu_memory_gb", "usd_per_hour", "as_of", "source"}
        assert (sku["usd_per_hour"] is None) == (sku["as_of"] is None) == (sku["source"] is None)


def test_jobs_ask_for_machines_that_the_catalog_knows() -> None:
    skus = load(Path(models.__file__).with_name("skus.yaml"))
    for path in (ROOT / "jobs").glob("*.yaml"):
        compute = load(path).get("compute") or {}
        for step in ("student_finetune", "evaluation"):
            assert step not in compute or compute[step]["instance_type"] in skus, path
