"""QLoRA: frozen weights in four bits.  bitsandbytes rounds and multiplies them on a CPU, too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from shared.errors import InvalidInput
from shared.weights import load_model
from student_finetune import students
from student_finetune.main import main
from student_finetune.settings import LORA, Hyperparameters
from student_finetune.students import from_weights, save

Arguments = Callable[..., list[str]]
RANK = 2
INPUT = torch.tensor([[7, 8, 9, 10]])


def chosen(**values: Any) -> Hyperparameters:
    return Hyperparameters(**{**vars(LORA), "lora_rank": RANK, "lora_alpha": 2 * RANK, **values})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(str(folder), torch.float32).state_dict()


@torch.inference_mode()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model.eval()(INPUT).logits.float()
    return found


def test_the_frozen_maps_have_four_bits_and_the_model_stays_near(pretrained: Path) -> None:
    plain = from_weights(str(pretrained), chosen()).model
    model = from_weights(str(pretrained), chosen(quantization="4bit")).model
    frozen = {name: p for name, p in model.named_parameters() if "base_layer" in name}
    sizes = {name: p.numel() for name, p in plain.named_parameters()}
    assert len(frozen) == 3 * 7
    assert all(p.dtype is torch.uint8 and p.numel() * 2 == sizes[name] for name, p in frozen.items())
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    error, size = (logits(model) - logits(plain)).norm(), logits(plain).norm()
    assert 0 < error < 0.3 * size


@pytest.mark.parametrize("method", ["response", "label_logits", "logits"])
def test_it_learns_as_lora_does_and_ends_on_the_stored_weights(
    arguments: Arguments, pretrained: Path, tmp_path: Path, method: str
) -> None:
    """All that changes is a product of LoRA's matrices: rounded weights would differ by full rank."""
    options: dict[str, Any] = {"num_epochs": 10, "learning_rate": 0.03, "lora_rank": RANK}
    given: dict[str, Any] = {"recipe": None, "student_folder": pretrained, "distillation": {"method": method}}
    if method == "logits":
        teacher = given | {"model": tmp_path / "teacher", "distillation": {"method": "response"}}
        main(arguments(**teacher, hyperparameters=options | {"lora_rank": 0}))
        given["teacher_folder"] = tmp_path / "teacher"
    main(arguments(**given, model=tmp_path / "lora", hyperparameters=options))
    main(arguments(**given, hyperparameters=options | {"quantization": "4bit"}))
    lora, facts = (json.loads((tmp_path / name / "training.json").read_text()) for name in ("lora", "model"))
    first, last = lora["loss"][0]["loss"], lora["loss"][-1]["loss"]
    assert last < 0.95 * first
    assert abs(facts["loss"][-1]["loss"] - last) < 0.2 * (first - last)
    assert facts["parameters"] == lora["parameters"]
    before, after = weights(pretrained), weights(tmp_path / "model")
    for name, value in after.items():
        if "_proj" in name:
            assert torch.linalg.matrix_rank(value - before[name], rtol=1e-3) == RANK
        else:
            assert torch.equal(value, before[name])


def test_a_saved_student_answers_much_as_the_trained_one(pretrained: Path, tmp_path: Path) -> None:
    student = from_weights(str(pretrained), chosen(quantization="4bit"))
    draw = torch.Generator().manual_seed(0)
    untouched = logits(student.model)
    with torch.no_grad():
        for parameter in student.model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=draw))
    trained = logits(student.model)
    save(student, tmp_path, chosen(quantization="4bit"))
    saved = logits(load_model(str(tmp_path), torch.float32))
    assert (saved - trained).norm() < 0.3 * (trained - untouched).norm()


def test_layers_are_computed_again(arguments: Arguments, pretrained: Path, tmp_path: Path) -> None:
    options = {"num_epochs": 2, "learning_rate": 0.01, "lora_rank": RANK, "quantization": "4bit"}
    given = {"recipe": None, "student_folder": pretrained}
    for again in (False, True):
        main(
            arguments(**given, hyperparameters=options | {"gradient_checkpointing": again}, model=tmp_path / str(again))
        )
    kept, again_ = weights(tmp_path / "False"), weights(tmp_path / "True")
    for name, value in kept.items():
        torch.testing.assert_close(again_[name], value)


def test_some_of_the_layers(pretrained: Path, tmp_path: Path) -> None:
    few = chosen(quantization="4bit", keep_layers=2, trained_layers=1)
    save(from_weights(str(pretrained), few), tmp_path, few)
    before, after = weights(pretrained), weights(tmp_path)
    for place, number in enumerate((0, 2)):
        name = "model.layers.{}.mlp.up_proj.weight"
        assert torch.equal(after[name.format(place)], before[name.format(number)])


def test_the_package_is_asked_for(pretrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(students, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"hyperparameters\.quantization: 4bit needs the package bitsandbytes"):
        from_weights(str(pretrained), chosen(quantization="4bit"))
