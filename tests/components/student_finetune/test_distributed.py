"""Two processes that train together, with gloo on the CPU: the same run as one process alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from shared.errors import InvalidInput
from student_finetune.batches import StepBatches
from student_finetune.main import main

Arguments = Callable[..., list[str]]
Rows = Callable[..., Iterator[dict[str, Any]]]
IN_PIECES = """
import sys
from student_finetune import main, reading
reading.PIECE["cpu"] = 4000  # ten positions, so that the output layer is computed again in the backward pass
main.main(sys.argv[1:])
"""
OPTIONS = {"num_epochs": 3, "batch_size": 4, "gradient_accumulation_steps": 2, "learning_rate": 0.01}


def start(arguments: list[str], world: int = 2) -> list[subprocess.Popen[str]]:
    """As Azure ML's `pytorch` distribution and torchrun do: a process for each rank, told by its environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(world)}
    common = {**os.environ, **address, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, "-c", IN_PIECES, *arguments],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]


def finish(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """(exit code, what it printed) of each; what it complained of is shown when a test fails."""
    found = []
    for process in processes:
        printed, complaints = process.communicate(timeout=300)
        print(complaints[-2000:])
        found.append((process.returncode, printed))
    return found


def same(folder: Path, other: Path) -> None:
    """The same loss curve, scores and weights."""
    facts, others = (json.loads((path / "training.json").read_text()) for path in (folder, other))
    losses, expected = ([entry["loss"] for entry in record["loss"]] for record in (facts, others))
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    names = ("validation", "best_epoch", "trained_tokens", "steps", "rows")
    assert [facts[name] for name in names] == [others[name] for name in names]
    weights, wanted = (load_file(path / "model.safetensors") for path in (folder, other))
    assert weights.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-5)
    assert (folder / "config.json").read_text() == (other / "config.json").read_text()


@pytest.fixture
def uneven(toy: Rows, write_split: Callable[..., Path], tmp_path: Path) -> Path:
    """17 rows in steps of 8: the last step has one, and a process with nothing to do."""
    return write_split(tmp_path / "uneven", train=toy(17), validation=toy(8, seed=1))


@pytest.mark.parametrize("student", ["from scratch", "in four bits"])
def test_two_processes_train_as_one(
    arguments: Arguments, uneven: Path, pretrained: Path, tmp_path: Path, student: str
) -> None:
    given = {"data": uneven, "distillation": {"method": "label_logits"}, "hyperparameters": OPTIONS}
    if student == "in four bits":
        options = {**OPTIONS, "quantization": "4bit"}
        given |= {"recipe": None, "student_folder": pretrained, "hyperparameters": options}
    (main_code, said), (code, silent) = finish(start(arguments(**given, model=tmp_path / "two")))
    assert (main_code, code) == (0, 0)
    assert "epoch 3: validation" in said
    assert silent == ""
    main(arguments(**given, model=tmp_path / "one"))
    same(tmp_path / "two", tmp_path / "one")
    assert json.loads((tmp_path / "two" / "training.json").read_text())["processes"] == 2


def test_a_sharded_run_is_stopped_and_goes_on(
    arguments: Arguments, uneven: Path, pretrained: Path, tmp_path: Path
) -> None:
    options = {**OPTIONS, "num_epochs": 5, "lora_rank": 0}
    given = {"data": uneven, "recipe": None, "student_folder": pretrained}
    ours = arguments(
        **given, hyperparameters={**options, "sharding": "full"}, model=tmp_path / "two", checkpoints=tmp_path / "kept"
    )
    processes = start(ours)
    assert processes[0].stdout
    assert any(line.startswith("epoch 2:") for line in processes[0].stdout)
    processes[1].send_signal(signal.SIGTERM)  # one is told, all stop at the same step
    assert [code for code, _ in finish(processes)] == [143, 143]
    assert not list((tmp_path / "two").iterdir())

    (code, said), _ = finish(start(ours))
    assert code == 0
    assert "going on from step" in said
    main(arguments(**given, hyperparameters=options, model=tmp_path / "one"))
    same(tmp_path / "two", tmp_path / "one")


@pytest.mark.parametrize(("rows", "batch_size", "accumulation"), [(23, 4, 2), (17, 4, 2), (8, 1, 3), (5, 16, 1)])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_a_step_has_the_same_rows_however_many_share_it(
    rows: int, batch_size: int, accumulation: int, world: int
) -> None:
    lengths = [3 + 7 * row % 11 for row in range(rows)]
    for epoch in (0, 1):
        shares = [StepBatches(lengths, batch_size, accumulation, 5, rank, world) for rank in range(world)]
        for share in shares:
            share.set_epoch(epoch)
        batches = [list(share) for share in shares]
        assert {len(found) for found in batches} == {len(shares[0])}
        assert max(len(batch) for found in batches for batch in found) <= batch_size
        assert sorted(row for found in batches for batch in found for row in batch) == list(range(rows))

        alone = StepBatches(lengths, batch_size, accumulation, 5)
        alone.set_epoch(epoch)
        steps = [list(alone)[at : at + accumulation] for at in range(0, len(alone), accumulation)]
        for number, step in enumerate(steps):
            at = slice(number * shares[0].passes, (number + 1) * shares[0].passes)
            assert {row for batch in step for row in batch} == {
                row for found in batches for batch in found[at] for row in batch
            }


def test_rows_of_a_batch_are_of_like_length_and_the_order_changes() -> None:
    draw = np.random.default_rng(0)
    lengths = draw.integers(5, 500, 3000).tolist()
    batches = StepBatches(lengths, 8, 1, 0)
    first = list(batches)
    padding = sum(max(lengths[row] for row in batch) * len(batch) for batch in first) / sum(lengths)
    assert padding < 1.05
    assert max(lengths) == max(lengths[row] for row in first[0])  # what does not fit in memory fails at once
    widths = [max(lengths[row] for row in batch) for batch in first]
    assert abs(float(np.corrcoef(widths[:-1], widths[1:])[0, 1])) < 0.2
    batches.set_epoch(1)
    assert list(batches) != first
    batches.set_epoch(0)
    assert list(batches) == first


def test_a_step_too_small_to_share_is_refused() -> None:
    with pytest.raises(InvalidInput, match="2 rows cannot be shared by 4 processes"):
        StepBatches([3] * 10, 2, 1, 0, rank=0, world=4)
