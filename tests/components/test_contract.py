"""What ties the components to the client and to Azure ML: their component.yaml, READMEs and metric names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from azure_distill.assets.bindings import check
from azure_distill.assets.component import Component, builtin_components
from azure_distill.spec.job import LABEL_TASKS, METRICS
from evaluation.metrics import applicable
from shared.tasks import TASKS, LabelTask, Settings

COMPONENTS = builtin_components()
components = pytest.mark.parametrize("component", COMPONENTS.values(), ids=COMPONENTS)


def test_there_are_four() -> None:
    assert set(COMPONENTS) == {"prepare_data", "teacher_inference", "student_finetune", "evaluation"}


@components
def test_our_own_checks_find_nothing(component: Component) -> None:
    assert check(component) == []


@components
def test_azure_accepts_the_component(component: Component) -> None:
    from azure.ai.ml import load_component

    loaded = load_component(component.path)
    result = loaded._validate()
    assert result.passed, result.error_messages
    assert set(loaded.inputs) == set(component.inputs)
    assert set(loaded.outputs) == set(component.outputs)


@components
def test_the_readme_has_a_line_for_every_input_and_output(component: Component) -> None:
    text = (component.folder / "README.md").read_text(encoding="utf-8")
    missing = [port for port in (*component.inputs, *component.outputs) if f"`{port}`" not in text]
    assert missing == []


@components
def test_there_is_a_page_about_it(component: Component) -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    assert (docs / f"{component.folder.name}.md").stat().st_size > 500


@pytest.mark.parametrize("task", TASKS)
def test_the_client_offers_the_metrics_that_the_evaluation_knows(task: str) -> None:
    assert set(METRICS[task]) == set(applicable(TASKS[task](Settings(labels=("a", "b")))))


def test_the_client_knows_the_label_tasks() -> None:
    assert {name for name, task in TASKS.items() if issubclass(task, LabelTask)} == set(LABEL_TASKS)


@pytest.mark.parametrize(("architecture", "student"), [("phi3", "phi-4-mini"), ("llama", "llama-3.1-8b")])
def test_a_preset_names_every_linear_map_of_its_architecture(architecture: str, student: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from azure_distill.catalog.models import students

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = AutoConfig.for_model(architecture, num_hidden_layers=1, vocab_size=16, pad_token_id=0, **sizes)
    model: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    (layer,) = model.get_decoder().layers
    linear = {name.rpartition(".")[2] for name, module in layer.named_modules() if isinstance(module, torch.nn.Linear)}
    assert set(students()[student].preset["target_modules"]) == linear
