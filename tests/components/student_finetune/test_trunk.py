"""Frozen first layers run once for each row, and nothing else changes by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shared.scratch import Recipe, initial_model, make_config, train_tokenizer
from student_finetune import train as training
from student_finetune import trunk
from student_finetune.data import Example
from student_finetune.history import History
from student_finetune.settings import Hyperparameters
from student_finetune.signals import LabelProbabilities, Objective
from student_finetune.students import Student
from student_finetune.trunk import Trunk

TOKENIZER = train_tokenizer(["one two"] * 4, 300)
END = int(TOKENIZER.eos_token_id)
CONFIG = make_config(Recipe(32, 4, 2, 48, 300), TOKENIZER)
OBJECTIVE = Objective((LabelProbabilities(TOKENIZER, 2.0),), {"response": 0.4, "label_logits": 0.6})
CHOSEN = Hyperparameters(learning_rate=0.01, batch_size=3, num_epochs=3, warmup_ratio=0.0)
FROZEN = 3


def rows() -> list[Example]:
    """Eleven of different lengths, so that the last batch of an epoch is smaller; every third has candidates."""
    draw = np.random.default_rng(0)

    def row(number: int) -> Example:
        prompt = draw.integers(20, 200, 2 + 3 * number % 13).tolist()
        answer = [*draw.integers(20, 200, 1 + number % 4).tolist(), END]
        labels = ((20,), (21, 22)) if number % 3 == 0 else ()
        return Example(prompt, answer, labels, (-0.1, -2.4)[: len(labels)], number=number)

    return [row(number) for number in range(11)]


def model(frozen: int = FROZEN) -> Any:
    made: Any = initial_model(CONFIG, 0)
    made.requires_grad_(False)
    for layer in made.get_decoder().layers[frozen:]:
        layer.requires_grad_(True)
    return made


def run(folder: Path) -> tuple[Any, History, int]:
    """The model after its training, what is known of it, and how often its first layer's attention ran."""
    learner, calls = model(), list[None]()
    learner.get_decoder().layers[0].self_attn.register_forward_hook(lambda *_: calls.append(None))
    history = training.train(Student(learner, TOKENIZER, torch.float32), rows(), OBJECTIVE, CHOSEN, None, folder)
    return learner, history, len(calls)


def test_it_runs_in_the_first_epoch_only_and_the_student_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, history, calls = run(tmp_path)
    monkeypatch.setattr(trunk, "room", lambda: 0.0)
    plain, expected, every = run(tmp_path)
    assert (calls, every) == (4, 12)  # batches: of one epoch, of three
    found = [entry["loss"] for entry in history.loss]
    assert found == pytest.approx([entry["loss"] for entry in expected.loss], rel=1e-4)
    for before, after in zip(plain.parameters(), kept.parameters(), strict=True):
        torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-5)
    assert not any("forward" in vars(layer) for layer in kept.get_decoder().layers)


def test_it_is_the_layers_below_the_first_trained_one() -> None:
    found = Trunk.of(model(), rows(), 2)
    assert found is not None
    assert len(found.layers) == FROZEN


def trains_embeddings(made: Any) -> None:
    made.get_input_embeddings().requires_grad_(True)


def drops_attention(made: Any) -> None:
    for layer in made.get_decoder().layers:
        layer.self_attn.attention_dropout = 0.1


def drops_states(made: Any) -> None:
    for layer in made.get_decoder().layers:
        layer.mlp.act_fn = torch.nn.Sequential(layer.mlp.act_fn, torch.nn.Dropout(0.1))


def computes_again(made: Any) -> None:
    made.activation_checkpointing_enable()


@pytest.mark.parametrize("change", [trains_embeddings, drops_attention, drops_states, computes_again])
def test_there_is_none_where_the_first_layers_do_not_always_give_the_same(change: Any) -> None:
    changed = model()
    change(changed)
    assert Trunk.of(changed, rows(), 2) is None


def test_there_is_none_where_it_gains_nothing_or_takes_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Trunk.of(model(), rows(), 1) is None
    assert Trunk.of(model(frozen=0), rows(), 2) is None
    monkeypatch.setattr(trunk, "room", lambda: 100.0)
    assert Trunk.of(model(), rows(), 2) is None
