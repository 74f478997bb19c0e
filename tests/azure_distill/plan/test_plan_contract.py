"""Whatever the job file accepts, the components accept: a run never fails over a value that `validate` let pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from azure_distill import DistillationJob
from azure_distill.errors import InvalidJob
from azure_distill.plan.build import build_plan
from azure_distill.plan.plan import Literal
from azure_distill.spec.job import DataSettings, Distillation, Evaluation, Hyperparameters, TeacherModel
from azure_distill.spec.job import Sampling as JobSampling
from evaluation.settings import load_settings as load_evaluation
from prepare_data.settings import load_settings as load_data
from shared.tasks import load_task
from student_finetune.settings import parse_distillation, parse_hyperparameters
from teacher_inference.settings import EndpointSettings, Limits, Sampling

VALUES: tuple[Any, ...] = (
    0, 1e-9, 0.05, 0.3, 0.5, 0.99, 1, 1.5, 2, 7, 8, 20, 64, 99.5, 1024, 1025, 4097, 2**31, 2**32, 2**63, 1e300,
    True, False, "drop", "error", "macro_f1 >= 0.5", ["macro_f1 >= 0.5"], ["accuracy_gain > 1e-3"],
    {"response": 1, "label_logits": 2}, "label_logits", "response", "jsd", "majority", "all",
)  # fmt: skip
TEACHER = {"name": "any", "endpoint": "http://127.0.0.1:9/v1", "auth": "none"}
TASK = json.dumps({"type": "classification", "labels": ["yes", "no"]})


def place(group: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A job's fields with `values` in one of its groups."""
    if group == "sampling":
        return {"teacher_model": TEACHER | {"sampling": values}}
    return {group: (TEACHER if group == "teacher_model" else {}) | dict(values)}


def fields(group: str, model: type[BaseModel]) -> list[tuple[str, str]]:
    return [(group, name) for name in model.model_fields]


FIELDS = [
    *fields("data", DataSettings),
    *fields("hyperparameters", Hyperparameters),
    *fields("distillation", Distillation),
    *fields("evaluation", Evaluation),
    *fields("teacher_model", TeacherModel),
    *fields("sampling", JobSampling),
]

READERS: dict[tuple[str, str], Callable[[str], object]] = {
    ("prepare_data", "settings"): load_data,
    ("teacher_inference", "sampling"): Sampling.from_json,
    ("teacher_inference", "limits"): Limits.from_json,
    ("teacher_inference", "endpoint"): EndpointSettings.from_json,
    ("student_finetune", "hyperparameters"): lambda text: parse_hyperparameters(text, from_scratch=False),
    ("student_finetune", "distillation"): parse_distillation,
    ("evaluation", "settings"): lambda text: load_evaluation(text, load_task(TASK)),
}


@pytest.mark.parametrize(("group", "field"), FIELDS)
def test_a_component_takes_what_the_job_file_takes(group: str, field: str, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}\n")
    for value in VALUES:
        given: dict[str, Any] = {
            "teacher_model": TEACHER,
            "student_model": "smollm2-135m-instruct",
            "training_data": str(rows),
            "task_type": "classification",
            "labels": ["yes", "no"],
            **place(group, {field: value}),
        }
        try:
            plan = build_plan(DistillationJob(**given), {})
        except InvalidJob:
            continue
        for (step, port), read in READERS.items():
            binding = plan.step(step).inputs.get(port)
            if isinstance(binding, Literal):
                read(str(binding.value))
