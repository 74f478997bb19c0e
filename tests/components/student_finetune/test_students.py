from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from shared.errors import NotFound
from student_finetune.settings import FULL, LORA, Hyperparameters
from student_finetune.students import complete_or_nothing, from_weights, merged, save

INPUT = torch.tensor([[7, 8, 9, 10]])


def changed(base: Hyperparameters, **values: Any) -> Hyperparameters:
    return Hyperparameters(**{**vars(base), "lora_alpha": 32, **values})


def shaken(model: Any) -> Any:
    """The model after a training that moved each trained weight a little."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.3)
    return model.eval()


@torch.inference_mode()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model(INPUT).logits
    return found


def test_merged_lora_is_the_same_model(pretrained: Path, tmp_path: Path) -> None:
    student = from_weights(str(pretrained), changed(LORA))
    before = logits(student.model)
    adapted = logits(shaken(student.model))
    assert not torch.allclose(adapted, before, atol=1e-3)
    save(student, tmp_path)
    torch.testing.assert_close(logits(AutoModelForCausalLM.from_pretrained(tmp_path)), adapted, rtol=1e-4, atol=1e-5)
    assert not list(tmp_path.glob("adapter*"))


def test_an_untouched_lora_changes_nothing(pretrained: Path) -> None:
    plain: Any = AutoModelForCausalLM.from_pretrained(pretrained)
    torch.testing.assert_close(logits(from_weights(str(pretrained), changed(LORA)).model), logits(plain))


@pytest.mark.parametrize("base", [LORA, FULL], ids=["lora", "full"])
def test_only_the_last_layers_move(pretrained: Path, base: Hyperparameters) -> None:
    first: Any = AutoModelForCausalLM.from_pretrained(pretrained)
    student = from_weights(str(pretrained), changed(base, trained_layers=1))
    after: Any = merged(shaken(student.model))
    same = {name: torch.equal(value, first.state_dict()[name]) for name, value in after.state_dict().items()}
    moved = {name for name, unchanged in same.items() if not unchanged}
    assert moved
    assert all(name.startswith("model.layers.2.") for name in moved)


def test_weights_are_saved_in_the_type_they_came_in(pretrained: Path, tmp_path: Path) -> None:
    half: Any = AutoModelForCausalLM.from_pretrained(pretrained, dtype=torch.bfloat16)
    half.save_pretrained(tmp_path / "half")
    for file in pretrained.glob("*token*"):
        (tmp_path / "half" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "half" / "chat_template.jinja").write_text((pretrained / "chat_template.jinja").read_text())
    student = from_weights(str(tmp_path / "half"), FULL)
    assert {parameter.dtype for parameter in student.model.parameters()} == {torch.float32}
    save(student, tmp_path / "out")
    saved: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert {parameter.dtype for parameter in saved.parameters()} == {torch.bfloat16}


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="cannot load"):
        from_weights(str(tmp_path), FULL)


def test_files_appear_together_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), complete_or_nothing(tmp_path / "out") as folder:  # noqa: PT012
        (folder / "weights").write_text("half of them")
        raise RuntimeError
    assert list((tmp_path / "out").iterdir()) == []
    with complete_or_nothing(tmp_path / "out") as folder:
        (folder / "weights").write_text("all of them")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["weights"]
