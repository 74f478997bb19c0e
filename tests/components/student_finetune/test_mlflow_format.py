"""The student's folder is a Hugging Face model and an MLflow model at once; MLflow itself says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
import yaml
from mlflow.models import Model
from tiny_model import write_tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from student_finetune.settings import FULL
from student_finetune.students import Student, save

MESSAGES = [{"role": "user", "content": "hello world"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = write_tiny_model(tmp_path_factory.mktemp("tiny"), ["hello world", "how are you"] * 9)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(source), AutoTokenizer.from_pretrained(source)
    out = tmp_path_factory.mktemp("model")
    save(Student(model, tokenizer, torch.float32), out, FULL)
    return out


def test_mlflow_loads_the_same_weights(folder: Path) -> None:
    loaded: Any = mlflow.transformers.load_model(str(folder))
    weights, expected = loaded.model.state_dict(), AutoModelForCausalLM.from_pretrained(folder).state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_mlflow_asks_it_through_its_chat_template(folder: Path) -> None:
    (answer,) = mlflow.pyfunc.load_model(str(folder)).predict({"messages": MESSAGES, "max_tokens": 3})
    prompt: Any = AutoTokenizer.from_pretrained(folder).apply_chat_template(MESSAGES, add_generation_prompt=True)
    assert answer["usage"]["prompt_tokens"] == len(prompt["input_ids"])
    assert 1 <= answer["usage"]["completion_tokens"] <= 3
    assert isinstance(answer["choices"][0]["message"]["content"], str)


def test_its_signature_and_requirements_are_read(folder: Path) -> None:
    model = Model.load(str(folder))
    assert model.signature is not None
    assert model.signature.inputs.input_names()[0] == "messages"
    needed = mlflow.pyfunc.get_model_dependencies(str(folder), format="pip")
    pinned = dict(line.split("==") for line in Path(needed).read_text().split() if "==" in line)
    assert pinned.keys() == {"accelerate", "torch", "transformers"}
    assert "+" not in pinned["torch"]
    pip = yaml.safe_load((folder / "conda.yaml").read_text())["dependencies"][-1]["pip"]
    assert pip == Path(needed).read_text().split()


def test_what_is_written_depends_on_the_model_alone(folder: Path, tmp_path: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    save(Student(model, tokenizer, torch.float32), tmp_path, FULL)
    for name in ("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    assert str(tmp_path) not in json.dumps((tmp_path / "MLmodel").read_text())
