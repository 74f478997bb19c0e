from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from shared.errors import ComponentError
from shared.scratch import Recipe, initial_model, make_config, train_tokenizer
from shared.tasks import load_task
from student_finetune.align import Aligner, Listed
from student_finetune.batches import PackedBatches, StepBatches
from student_finetune.callbacks import BestEpoch, Report
from student_finetune.collate import Collator
from student_finetune.data import Example
from student_finetune.history import History
from student_finetune.hosted import HostedTeacher
from student_finetune.losses import ABSENT
from student_finetune.settings import FULL, LORA, Hyperparameters
from student_finetune.signals import LabelProbabilities, ListedTokens, Objective, WholeDistribution
from student_finetune.students import Student, from_weights
from student_finetune.train import Batches, DistillationTrainer, train, training_arguments

TOKENIZER = train_tokenizer(["one two"] * 4, 300)
PAD, END = int(TOKENIZER.pad_token_id), int(TOKENIZER.eos_token_id)
CONFIG = make_config(Recipe(32, 1, 2, 48, 300), TOKENIZER)
OBJECTIVE = Objective((LabelProbabilities(TOKENIZER, 2.0),), {"response": 0.4, "label_logits": 0.6})
ROWS = [  # answers of 1 to 6 tokens, with and without teacher
    Example([7] * 3, [20, END], ((20,), (21, 22)), (-0.1, -2.4)),
    Example([8] * 12, [21, 22, 23, 24, 25, END]),
    Example([9] * 5, [21, 22, END], ((20,), (21, 22)), (-2.4, -0.1)),
    Example([10] * 2, [30, 31, 32, END]),
]


def student(seed: int = 0) -> Student:
    return Student(initial_model(CONFIG, seed), TOKENIZER, torch.float32)


def settings(**changed: Any) -> Hyperparameters:
    return Hyperparameters(**{"learning_rate": 0.01, "batch_size": 4, "num_epochs": 1, "warmup_ratio": 0.0} | changed)


class Gradients(TrainerCallback):
    def on_pre_optimizer_step(self, *_: Any, model: Any = None, **__: Any) -> None:
        self.found = {name: p.grad.clone() for name, p in model.named_parameters()}


def eight_rows(second_label: tuple[int, ...] = (21, 22)) -> list[Example]:
    """Answers of 2 to 9 tokens; every second row has label probabilities, of every third some tokens are listed."""
    draw = np.random.default_rng(3)

    def row(number: int) -> Example:
        answer = [*draw.integers(20, 60, number + 1).tolist(), END]
        labels = ((20,), second_label) if number % 2 else ()
        prompt = [7 + number] * (1 + 5 * number % 7)
        listed = np.log(np.full((len(answer), 3), 0.2, np.float32))
        listed[draw.random(len(answer)) < 0.3] = ABSENT
        ids = np.stack([[token, 70, 71] for token in answer]).astype(np.int32)
        known = Listed(ids, listed) if number % 3 else None
        return Example(prompt, answer, labels, (-0.1, -2.4)[: len(labels)], known, (*prompt, 30), number)

    return [row(number) for number in range(8)]


def objectives() -> dict[str, Objective]:
    labels, listed = LabelProbabilities(TOKENIZER, 2.0), ListedTokens(Aligner(TOKENIZER))
    teacher = HostedTeacher(initial_model(CONFIG, 5), TOKENIZER, TOKENIZER, load_task('{"type": "conversation"}'))
    whole = WholeDistribution(teacher, "jsd", 2.0)
    mixture = {"response": 0.2, "label_logits": 0.3, "logits": 0.5}
    return {
        "response": Objective(),
        "label_logits": Objective((labels,), mixture),
        "logits of an endpoint": Objective((listed,), mixture),
        "logits of a hosted teacher": Objective((whole,), mixture),
        "a mixture": Objective((labels, listed), mixture),
    }


def first_gradient(
    folder: Path, objective: Objective, rows: list[Example], accumulation: int, kind: type[Batches] = StepBatches
) -> dict[str, torch.Tensor]:
    """Of the one step over eight rows, cut into `accumulation` batches.  Unclipped: clipping would hide a scale."""
    learner, gradients, packed = student(), Gradients(), kind is PackedBatches
    chosen = settings(batch_size=8 // accumulation, gradient_accumulation_steps=accumulation)
    batches = kind([len(row) for row in rows], chosen.batch_size, accumulation, chosen.seed)
    arguments = training_arguments(False, batches, chosen, folder)
    arguments.max_grad_norm = 0.0
    DistillationTrainer(
        objective,
        Report(History(), 0),
        batches,
        model=learner.model,
        args=arguments,
        train_dataset=rows,
        data_collator=Collator(PAD, packed=packed),
        callbacks=[gradients],
    ).train()
    return gradients.found


def same(gradients: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert sum(float(gradient.abs().sum()) for gradient in expected.values()) > 0
    for part, gradient in expected.items():
        torch.testing.assert_close(gradients[part], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", objectives())
def test_the_gradient_does_not_depend_on_accumulation(tmp_path: Path, name: str) -> None:
    objective, rows = objectives()[name], eight_rows()
    whole = first_gradient(tmp_path, objective, rows, 1)
    for accumulation in (2, 4, 8):
        same(first_gradient(tmp_path, objective, rows, accumulation), whole)


@pytest.mark.parametrize("name", objectives())
def test_the_gradient_does_not_depend_on_packing(tmp_path: Path, name: str) -> None:
    whole = first_gradient(tmp_path, objectives()[name], eight_rows((21,)), 1)
    packing = objectives()[name]
    for signal in packing.signals:
        if isinstance(signal, WholeDistribution):
            signal.teacher.packed = True
    same(first_gradient(tmp_path, packing, eight_rows((21,)), 4, PackedBatches), whole)


class Scripted:
    """A validation that gives these scores, and remembers the weights it was shown."""

    metric, sign = "accuracy", 1

    def __init__(self, *scores: float) -> None:
        self.scores = list(scores)
        self.shown: list[torch.Tensor] = []

    def score(self, model: Any) -> float:
        self.shown.append(model.lm_head.weight.detach().clone())
        return self.scores[len(self.shown) - 1]


def trained(folder: Path, validation: Scripted | None, **changed: Any) -> tuple[Student, History]:
    learner = student()
    return learner, train(learner, ROWS, OBJECTIVE, settings(**changed), validation, folder)


def test_the_best_epochs_weights_are_kept(tmp_path: Path) -> None:
    validation = Scripted(0.5, 0.8, 0.8, 0.7)
    learner, history = trained(tmp_path, validation, num_epochs=4)
    assert history.best_epoch == 3  # of equals the later
    assert torch.equal(learner.model.lm_head.weight, validation.shown[2])
    assert not torch.equal(validation.shown[2], validation.shown[3])
    assert [entry["accuracy"] for entry in history.validation] == [0.5, 0.8, 0.8, 0.7]


def test_where_less_is_better_the_least_is_best(tmp_path: Path) -> None:
    validation = Scripted(3.0, 1.0, 2.0)
    validation.sign = -1
    assert trained(tmp_path, validation, num_epochs=3)[1].best_epoch == 2


def test_patience_stops_the_run(tmp_path: Path) -> None:
    validation = Scripted(0.5, 0.6, 0.6, 0.6, 0.9)
    _, history = trained(tmp_path, validation, num_epochs=5, patience=2)
    assert (len(history.validation), history.best_epoch, history.steps) == (4, 4, 4)


def test_without_validation_rows_the_last_epoch_stands(tmp_path: Path) -> None:
    _, history = trained(tmp_path, None, num_epochs=3)
    assert (history.best_epoch, history.validation) == (3, [])


def test_the_same_inputs_give_the_same_weights(tmp_path: Path) -> None:
    (first, _), (second, _) = (trained(tmp_path, None, num_epochs=3, batch_size=2) for _ in range(2))
    other, _ = trained(tmp_path, None, num_epochs=3, batch_size=2, seed=1)
    weights = [s.model.lm_head.weight for s in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_training_learns_the_answers(tmp_path: Path) -> None:
    _, history = trained(tmp_path, None, num_epochs=40)
    assert history.loss[-1]["loss"] < 0.3 * history.loss[0]["loss"]
    assert history.trained_tokens == 40 * sum(len(row.answer) for row in ROWS)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    learner = student()
    with torch.no_grad():
        learner.model.lm_head.weight[0, 0] = float("nan")
    with pytest.raises(ComponentError, match=r"not a number at step 1.*learning_rate"):
        train(learner, ROWS, OBJECTIVE, settings(), None, tmp_path)


def test_restore_gives_back_every_trained_weight() -> None:
    learner = student()
    best = BestEpoch(Scripted(1.0), History(), None)
    best.weights = {name: p.detach().clone() for name, p in student(seed=1).model.named_parameters()}
    best.restore(learner.model)
    assert torch.equal(learner.model.lm_head.weight, student(seed=1).model.lm_head.weight)


@pytest.mark.parametrize("name", objectives())
def test_computing_layers_again_changes_nothing(tmp_path: Path, name: str) -> None:
    found, calls = [], []
    for again in (False, True):
        learner, seen = student(), list[int]()
        model: Any = learner.model
        model.get_decoder().layers[0].mlp.register_forward_pre_hook(lambda *_, seen=seen: seen.append(1))
        history = train(
            learner, eight_rows(), objectives()[name], settings(gradient_checkpointing=again), None, tmp_path
        )
        assert history.recomputed is again
        found.append(list(model.parameters()))
        calls.append(len(seen))
    assert calls[1] == 2 * calls[0]
    for before, after in zip(*found, strict=True):
        torch.testing.assert_close(after, before)


@pytest.mark.parametrize("base", [LORA, FULL], ids=["lora", "full"])
def test_computing_layers_again_changes_nothing_where_others_are_frozen(
    pretrained: Path, tmp_path: Path, base: Hyperparameters
) -> None:
    found, calls = [], []
    for again in (False, True):
        chosen = replace(base, learning_rate=0.01, batch_size=4, trained_layers=2, gradient_checkpointing=again)
        torch.manual_seed(0)  # LoRA's first weights
        learner, seen = from_weights(str(pretrained), chosen), list[int]()
        last = [module for name, module in learner.model.named_modules() if name.endswith("layers.2.mlp")]
        last[0].register_forward_pre_hook(lambda *_, seen=seen: seen.append(1))
        train(learner, eight_rows(), Objective(), chosen, None, tmp_path)
        found.append([value for value in learner.model.parameters() if value.requires_grad])
        calls.append(len(seen))
    assert calls[1] == 2 * calls[0]
    for before, after in zip(*found, strict=True):
        torch.testing.assert_close(after, before)


class TooLarge(Objective):
    def terms(self, *_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def test_too_little_memory_is_told(tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match=r"the GPU's memory is too small .*halve batch_size"):
        train(student(), ROWS, TooLarge(), settings(), None, tmp_path)


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of the last step is beyond all numbers, its loss is not."""
    report = Report.on_pre_optimizer_step

    def overflowing(self: Report, args: Any, state: Any, control: Any, model: Any = None, **rest: Any) -> None:
        report(self, args, state, control, **rest)
        next(model.parameters()).grad.fill_(float("nan"))

    monkeypatch.setattr(Report, "on_pre_optimizer_step", overflowing)
    with pytest.raises(ComponentError, match="the weights are not numbers after the last step"):
        train(student(), ROWS, OBJECTIVE, settings(), None, tmp_path)


@pytest.mark.parametrize("ratio", [0.05, 1])
def test_one_step_alone_teaches(tmp_path: Path, ratio: float) -> None:
    learner, history = trained(tmp_path, None, num_epochs=1, warmup_ratio=ratio)
    assert history.steps == 1
    assert not torch.equal(learner.model.lm_head.weight, student().model.lm_head.weight)


@pytest.mark.parametrize(("ratio", "expected"), [(0, 0), (0.05, 1), (0.5, 5), (1, 9)])
def test_the_warm_up_is_a_share_of_the_steps(tmp_path: Path, ratio: float, expected: int) -> None:
    chosen = settings(num_epochs=5, warmup_ratio=ratio, batch_size=4)
    batches = StepBatches([3] * 8, 4, 1, 0)
    assert training_arguments(False, batches, chosen, tmp_path).warmup_steps == expected
