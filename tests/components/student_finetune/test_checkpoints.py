"""A run that was stopped, begun again: it ends with the same bytes as one that was not."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import shared
from shared.errors import ComponentError
from student_finetune import students
from student_finetune import train as training
from student_finetune.callbacks import BestEpoch
from student_finetune.checkpoints import Checkpoints, code_hash, weights_hash
from student_finetune.history import History
from student_finetune.main import main

Arguments = Callable[..., list[str]]
OPTIONS = {"num_epochs": 3, "batch_size": 2, "gradient_accumulation_steps": 2, "learning_rate": 0.01}
TIMES = {"seconds", "tokens_per_s", "peak_memory_bytes", "resumed_at"}


class PowerCut(Exception):
    pass


class Constant:
    metric, sign = "loss", -1

    def score(self, model: Any) -> float:
        return 0.0


def outcome(folder: Path) -> tuple[bytes, dict[str, Any]]:
    """The weights, and what the record says of everything but time."""
    facts = json.loads((folder / "training.json").read_text())
    facts["hyperparameters"].pop("checkpoint_minutes")
    return (folder / "model.safetensors").read_bytes(), {k: v for k, v in facts.items() if k not in TIMES}


def left(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def with_dropout(folder: Path, copy: Path) -> Path:
    """A model whose training draws random numbers in each step."""
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"attention_dropout": 0.3}))
    return copy


@pytest.fixture
def power_cut(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets the current fail in the forward pass of a step."""

    def at(step: int) -> None:
        compute = training.DistillationTrainer.compute_loss

        def cut(self: Any, *given: Any, **options: Any) -> torch.Tensor:
            if self.state.global_step == step:
                monkeypatch.setattr(training.DistillationTrainer, "compute_loss", compute)
                raise PowerCut
            return compute(self, *given, **options)

        monkeypatch.setattr(training.DistillationTrainer, "compute_loss", cut)

    return at


@pytest.mark.parametrize(
    ("student", "step"),
    [("scratch", 2), ("scratch", 6), ("scratch", 17), ("lora", 8), ("4bit", 8), ("dropout", 8)],
    ids=["in the first epoch", "between epochs", "in the last step", "of an adapter", "in four bits", "with dropout"],
)
def test_a_run_goes_on_where_its_last_checkpoint_is(
    arguments: Arguments, pretrained: Path, tmp_path: Path, power_cut: Callable[[int], None], student: str, step: int
) -> None:
    if student == "dropout":
        pretrained = with_dropout(pretrained, tmp_path / "dropout")
    source = {} if student == "scratch" else {"recipe": None, "student_folder": pretrained}
    given = {**source, "distillation": {"method": "label_logits"}, "checkpoints": tmp_path / "kept"}
    options = {**OPTIONS, "quantization": "4bit"} if student == "4bit" else OPTIONS
    every_step = {**options, "checkpoint_minutes": 0}

    main(arguments(**{**given, "checkpoints": None}, hyperparameters=options, model=tmp_path / "whole"))
    power_cut(step)
    with pytest.raises(PowerCut):
        main(arguments(**given, hyperparameters=every_step))
    assert list((tmp_path / "model").iterdir()) == []
    assert left(tmp_path / "kept")
    main(arguments(**given, hyperparameters=options))

    assert outcome(tmp_path / "model") == outcome(tmp_path / "whole")
    assert json.loads((tmp_path / "model" / "training.json").read_text())["resumed_at"] == [step]
    assert left(tmp_path / "kept") == []  # it ended well


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_in_the_middle(arguments: Arguments, tmp_path: Path, number: signal.Signals) -> None:
    options = {"num_epochs": 30, "batch_size": 8, "learning_rate": 0.003, "patience": 25}
    often = options | {"checkpoint_minutes": 1e-9 if number == signal.SIGKILL else None}
    command = [sys.executable, "-m", "student_finetune"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    given = arguments(hyperparameters=often, checkpoints=tmp_path / "kept")
    with subprocess.Popen([*command, *given], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        assert any(line.startswith("epoch 2:") for line in process.stdout)
        process.send_signal(number)
        rest = process.stdout.read()
    assert process.returncode == (143 if number == signal.SIGTERM else -9)
    assert ("run it again to go on from there" in rest) == (number == signal.SIGTERM)

    main(arguments(hyperparameters=options, checkpoints=tmp_path / "kept"))
    main(arguments(hyperparameters=options, model=tmp_path / "whole"))
    assert outcome(tmp_path / "model") == outcome(tmp_path / "whole")
    assert json.loads((tmp_path / "model" / "training.json").read_text())["resumed_at"]


def test_another_run_starts_from_its_own_beginning(
    arguments: Arguments, tmp_path: Path, power_cut: Callable[[int], None]
) -> None:
    given = {"checkpoints": tmp_path / "kept"}
    power_cut(4)
    with pytest.raises(PowerCut):
        main(arguments(**given, hyperparameters={**OPTIONS, "checkpoint_minutes": 0}))
    main(arguments(**given, hyperparameters={**OPTIONS, "learning_rate": 0.02}))
    assert json.loads((tmp_path / "model" / "training.json").read_text())["resumed_at"] == []
    assert left(tmp_path / "kept")  # of the first, which may still be begun again


def test_a_disk_that_fills_up_is_told(arguments: Arguments, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # bytes a file may have
    try:
        with pytest.raises(ComponentError, match=r"cannot write the checkpoint .*kept.*checkpoint-1: "):
            main(arguments(hyperparameters={**OPTIONS, "checkpoint_minutes": 0}, checkpoints=tmp_path / "kept"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "model").iterdir()) == []


def test_a_disk_that_fills_up_at_the_best_epochs_weights_is_told(tmp_path: Path) -> None:
    best = BestEpoch(Constant(), History(), None)
    best.weights = {"weight": torch.zeros(100_000)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(ComponentError, match="cannot write the checkpoint"):
            best.save(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_checkpoint(store: Checkpoints, step: int, *, complete: bool = True) -> Path:
    folder = store.own / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "weights").write_text("all")
    if complete:
        store.complete(folder, History(steps=step))
    return folder


def test_what_is_not_complete_is_not_a_checkpoint(tmp_path: Path) -> None:
    first = Checkpoints(tmp_path, "key")
    assert first.latest() is None
    older, newer = write_checkpoint(first, 9), write_checkpoint(first, 10)
    half = write_checkpoint(first, 11, complete=False)
    assert not older.exists()
    second = Checkpoints(tmp_path, "key")
    assert second.latest() == newer
    assert half.exists()  # someone may be writing it
    os.utime(half, (time.time() - 7200,) * 2)
    assert Checkpoints(tmp_path, "key").latest() == newer
    assert not half.exists()
    assert Checkpoints(tmp_path, "other").latest() is None
    second.clear()
    assert left(tmp_path) == []


def test_a_models_hash_is_of_its_content(pretrained: Path, tmp_path: Path) -> None:
    shutil.copytree(pretrained, tmp_path / "copy")
    assert weights_hash(tmp_path / "copy") == weights_hash(pretrained)
    weights = tmp_path / "copy" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert weights_hash(tmp_path / "copy") != weights_hash(pretrained)


def test_a_signal_while_the_model_is_written_lets_it_be_written(
    arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    saved = students.save

    def save(*given: Any) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return saved(*given)

    monkeypatch.setattr(students, "save", save)
    before = signal.getsignal(signal.SIGTERM)
    main(arguments(hyperparameters=OPTIONS, checkpoints=tmp_path / "kept"))
    assert (tmp_path / "model" / "training.json").exists()
    assert "the model is written first" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_code_that_components_share_is_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_hash()
    copy = shutil.copytree(Path(str(shared.__file__)).parent, tmp_path / "shared")
    monkeypatch.setattr(shared, "__file__", str(copy / "__init__.py"))
    assert code_hash() == before
    (copy / "tasks" / "labels.py").write_text("# another version")
    assert code_hash() != before
