"""The GPU's benchmark, at the size of a toy: what it prints elsewhere is as right as what it prints here."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "training_gpu.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("training_gpu", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_way_is_measured(bench: ModuleType, tmp_path: Path, tuning: str) -> None:
    bench.write_weights("toy", tmp_path)
    found = bench.measure("ours, packed", tuning, tmp_path, 8, 64)
    assert found["tokens_per_s"] > 0
    assert found["attention"] == ("flash_attention_2" if torch.cuda.is_available() else "sdpa")


def test_operations_are_those_of_the_weights_that_tokens_go_through(bench: ModuleType, tmp_path: Path) -> None:
    bench.write_weights("toy", tmp_path)
    chosen = bench.hyperparameters("full", packing=False)
    model = bench.from_weights(str(tmp_path), chosen).model
    head = 512 * 64
    layers = sum(weight.numel() for weight in model.parameters()) - head - 64  # tied, and the last norm
    assert bench.operations(model, "full", 10, 3) == 6 * (10 * layers + 3 * head)
    assert bench.operations(model, "lora", 10, 0) == 4 * 10 * layers
