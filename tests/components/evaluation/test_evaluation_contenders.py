"""A contender's process: how its end is told, whatever the end."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from evaluation import contenders
from evaluation.contenders import Contender, Outcome, run_contenders
from evaluation.settings import Settings
from shared.errors import NotFound, ServiceUnavailable

SETTINGS = Settings(metrics=("accuracy",), headline="accuracy", latency_rows=2)
Lines = list[dict[str, Any]]


@pytest.fixture
def rows(tmp_path: Path, write_lines: Callable[[Path, Lines], Path], label_rows: Callable[..., Lines]) -> Path:
    return write_lines(tmp_path / "test.jsonl", label_rows(3))


def alone(contender: Contender, rows: Path, task: str, folder: Path) -> Outcome:
    return run_contenders([contender], rows, task, SETTINGS, folder)[contender.role]


def test_processes_that_are_all_killed_are_failures_with_the_signal(
    rows: Path, tmp_path: Path, label_task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = contenders._run
    monkeypatch.setattr(contenders, "_run", lambda command: run(["bash", "-c", "kill -9 $$"]))
    outcome = alone(Contender("student", "s", folder="x"), rows, label_task, tmp_path)
    assert outcome.error == "its process was ended by signal 9 (out of memory?)"
    assert outcome.answers is None


def test_weights_that_do_not_fit_are_a_failure_with_a_reason(
    rows: Path, tmp_path: Path, label_task: str, models: dict[str, Path]
) -> None:
    folder = tmp_path / "none"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "no-such-model"}))
    outcome = alone(Contender("student", "s", folder=str(folder)), rows, label_task, tmp_path)
    assert outcome.error is not None
    assert "cannot load the model" in outcome.error
    assert isinstance(outcome.failure(), NotFound)


def test_weights_that_are_no_numbers_are_a_failure_with_a_reason(
    rows: Path, tmp_path: Path, label_task: str, models: dict[str, Path]
) -> None:
    folder = shutil.copytree(models["student"], tmp_path / "broken")
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(math.nan)
    model.save_pretrained(folder)
    outcome = alone(Contender("student", "s", folder=str(folder)), rows, label_task, tmp_path)
    assert outcome.error == "its weights give probabilities that are not numbers"
    assert outcome.answers is None


def test_the_error_to_end_with_keeps_the_exit_code() -> None:
    error = Outcome(Contender("student", "s"), {}, "cannot download", 13).failure()
    assert isinstance(error, ServiceUnavailable)
    assert str(error) == "s: cannot download"
