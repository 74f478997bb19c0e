"""The component as it is run: a command line in, a model folder and an exit code out."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from shared.chat import prompt_ids
from shared.errors import ComponentError, InvalidInput, NotFound
from shared.generate import Sampling, generate
from shared.scratch import untrained
from shared.weights import load_model, load_tokenizer
from student_finetune.main import main

Arguments = Callable[..., list[str]]
Rows = Callable[..., Iterator[dict[str, Any]]]


def run(arguments: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "student_finetune", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), **options)


def environment() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "training.json").read_text())
    return found


def test_a_student_from_scratch_learns_and_answers(arguments: Arguments, tmp_path: Path) -> None:
    options = {"num_epochs": 30, "batch_size": 8, "learning_rate": 0.01}
    done = run(arguments(hyperparameters=options, distillation={"method": "label_logits", "weight": 0.5}))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "progress: 90/90 steps" in done.stdout
    assert "tokens per s" in done.stdout

    folder = tmp_path / "model"
    facts = record(folder)
    assert facts["from_scratch"]
    assert (facts["method"], facts["rows"], facts["epochs"], facts["steps"]) == ("label_logits", 24, 30, 90)
    assert max(entry["accuracy"] for entry in facts["validation"]) == 1.0
    assert facts["validation"][facts["best_epoch"] - 1]["accuracy"] == 1.0
    assert all(facts[name] > 0 for name in ("trained_tokens", "tokens_per_s", "seconds", "peak_memory_bytes"))

    tokenizer = load_tokenizer(str(folder))
    model: Any = load_model(str(folder), torch.float32)
    assert facts["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    prompts = [prompt_ids(tokenizer, [{"role": "user", "content": text}]) for text in ("goal match team", "vote bill")]
    answers = [a for batch in generate(model, tokenizer, prompts, Sampling(max_tokens=12)) for a in batch]
    said = {answer.index: (answer.text, answer.finished) for answer in answers}
    assert said == {0: ("sport", True), 1: ("politics", True)}

    first: Any = untrained(folder)
    assert first.config.vocab_size == model.config.vocab_size
    assert not torch.equal(first.get_input_embeddings().weight, model.get_input_embeddings().weight)


def test_the_same_command_gives_the_same_bytes(arguments: Arguments, tmp_path: Path) -> None:
    assert run(arguments(model=tmp_path / "elsewhere")).returncode == 0
    main(arguments(model=tmp_path / "here"))
    for file in ("model.safetensors", "tokenizer.json"):
        assert (tmp_path / "elsewhere" / file).read_bytes() == (tmp_path / "here" / file).read_bytes()


@pytest.mark.parametrize("rank", [0, 4])
def test_a_pretrained_student(arguments: Arguments, pretrained: Path, tmp_path: Path, rank: int) -> None:
    options = {"num_epochs": 1, "lora_rank": rank, "learning_rate": 0.01}
    main(arguments(recipe=None, student_folder=pretrained, hyperparameters=options))
    facts = record(tmp_path / "model")
    assert not facts["from_scratch"]
    assert "recipe" not in facts
    assert facts["student"] == pretrained.name
    before, after = load_model(str(pretrained), torch.float32), load_model(str(tmp_path / "model"), torch.float32)
    assert before.state_dict().keys() == after.state_dict().keys()
    weight = "model.layers.2.mlp.up_proj.weight"
    assert not torch.equal(before.state_dict()[weight], after.state_dict()[weight])


@pytest.mark.parametrize("rank", [0, 4])
def test_a_hosted_teachers_logits(arguments: Arguments, pretrained: Path, tmp_path: Path, rank: int) -> None:
    options = {"num_epochs": 9, "lora_rank": rank, "learning_rate": 0.01}
    main(arguments(recipe=None, student_folder=pretrained, hyperparameters=options))
    taught, teacher = tmp_path / "taught", tmp_path / "model"
    given = {"recipe": None, "student_folder": pretrained, "teacher_folder": teacher, "hyperparameters": options}
    main(arguments(**given, distillation={"method": "logits", "weight": 1.0}, model=taught))
    facts = record(taught)
    assert (facts["method"], facts["shares"]) == ("logits", {"response": 0.0, "logits": 1.0})
    assert facts["loss"][-1]["loss"] < 0.3 * facts["loss"][0]["loss"]


def test_free_text_is_validated_by_its_loss(
    arguments: Arguments, toy: Rows, write_split: Callable[..., Path], tmp_path: Path
) -> None:
    data = write_split(tmp_path / "talk", train=toy(24, teacher=False), validation=toy(8, seed=1))
    main(arguments(data=data, task={"type": "conversation"}))
    losses = [entry["loss"] for entry in record(tmp_path / "model")["validation"]]
    assert losses[1] < losses[0]


def test_rows_without_probabilities_are_learnt_as_text(
    arguments: Arguments, toy: Rows, write_split: Callable[..., Path], tmp_path: Path, capsys: Any
) -> None:
    data = write_split(tmp_path / "mixed", train=[*toy(12), *toy(6, teacher=False, seed=2)])
    main(arguments(data=data, distillation={"method": "label_logits"}))
    assert "6 of 18 rows have no label_logprobs" in capsys.readouterr().out
    data = write_split(tmp_path / "none", train=toy(6, teacher=False))
    with pytest.raises(InvalidInput, match="needs rows with label_logprobs"):
        main(arguments(data=data, distillation={"method": "label_logits"}))


def test_bad_rows_are_located_without_a_traceback(
    arguments: Arguments, toy: Rows, write_split: Callable[..., Path], tmp_path: Path
) -> None:
    rows = list(toy(3))
    rows[1]["messages"].pop()
    done = run(arguments(data=write_split(tmp_path / "bad", train=rows)))
    assert done.returncode == 3
    assert done.stderr.startswith(f"error: {tmp_path}/bad/train.jsonl:2: has no answer")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"hyperparameters": "{"}, "is not JSON"),
        ({"hyperparameters": {"batch_size": 0}}, "hyperparameters.batch_size"),
        ({"recipe": {"hidden_size": 30, "num_heads": 4}}, "recipe.hidden_size"),
        ({"distillation": {"method": "magic"}}, "distillation.method"),
        ({"student_id": "someone/model"}, "give one of"),
        ({"recipe": None}, "give one of"),
        ({"task": {"type": "poetry"}}, "task.type"),
    ],
)
def test_bad_settings_are_named(arguments: Arguments, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        main(arguments(**changed))


def test_a_folder_without_a_model(arguments: Arguments, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"config\.json"):
        main(arguments(recipe=None, student_folder=tmp_path))


def test_a_failed_run_leaves_no_half_model(arguments: Arguments, pretrained: Path, tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match="not a number"):
        main(arguments(recipe=None, student_folder=broken(pretrained, tmp_path)))
    assert list((tmp_path / "model").iterdir()) == []


def broken(pretrained: Path, tmp_path: Path) -> Path:
    """A copy of the weights in which nothing is a number."""
    folder = tmp_path / "broken"
    shutil.copytree(pretrained, folder)
    model: Any = load_model(str(folder), torch.float32)
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(float("nan"))
    model.save_pretrained(folder)
    return folder


def test_a_full_disk_is_one_line(arguments: Arguments, tmp_path: Path) -> None:
    limit = 20_000  # bytes a file may have: less than the weights, more than the settings
    done = run(arguments(), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr
    assert list((tmp_path / "model").iterdir()) == []


def test_figures_and_settings_go_to_mlflow(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri = (tmp_path / "runs").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    main(arguments())
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs(["0"])
    facts = record(tmp_path / "model")
    curve = [(point.step, round(point.value, 5)) for point in client.get_metric_history(run.info.run_id, "loss")]
    assert curve == [(entry["step"], entry["loss"]) for entry in facts["loss"]]
    assert run.data.metrics["validation_accuracy"] == facts["validation"][-1]["accuracy"]
    assert run.data.params["learning_rate"] == "0.01"
    assert run.info.status == "FINISHED"


def test_a_tracking_server_that_is_not_there_costs_a_warning(
    arguments: Arguments, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    main(arguments())
    assert capsys.readouterr().out.count("could not be sent to MLflow") == 1
    assert record(tmp_path / "model")["steps"] == 6


def test_validation_rows_that_are_too_long_choose_nothing(
    arguments: Arguments, toy: Rows, write_split: Callable[..., Path], tmp_path: Path, capsys: Any
) -> None:
    long = [row | {"messages": [row["messages"][0], {"role": "assistant", "content": "x " * 99}]} for row in toy(2)]
    data = write_split(tmp_path / "talk", train=toy(24, teacher=False), validation=long)
    options = {"num_epochs": 1, "max_length": 64}
    main(arguments(data=data, task={"type": "conversation"}, hyperparameters=options))
    assert record(tmp_path / "model")["validation"] == []
    assert "2 of 2 rows are longer than 64 tokens" in capsys.readouterr().out
