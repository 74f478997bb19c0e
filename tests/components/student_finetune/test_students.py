from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from shared.errors import InvalidInput, NotFound
from shared.layers import evenly_spaced
from shared.weights import load_tokenizer, locate
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
    save(student, tmp_path, changed(LORA))
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
    save(student, tmp_path / "out", FULL)
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


def test_the_adapter_is_kept_beside_the_merged_weights(pretrained: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    chosen = changed(LORA, keep_adapter=True, target_modules=["q_proj", "v_proj"])
    student = from_weights(str(pretrained), chosen)
    adapted = logits(shaken(student.model))
    save(student, tmp_path, chosen)
    torch.testing.assert_close(logits(AutoModelForCausalLM.from_pretrained(tmp_path)), adapted, rtol=1e-4, atol=1e-5)
    plain: Any = AutoModelForCausalLM.from_pretrained(pretrained)
    again = PeftModel.from_pretrained(plain, str(tmp_path / "adapter"))
    torch.testing.assert_close(logits(again), adapted, rtol=1e-4, atol=1e-5)
    assert set(again.peft_config["default"].target_modules) == {"q_proj", "v_proj"}


def test_a_linear_map_that_is_not_there_is_named(pretrained: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no qkv_proj; its linear maps are down_proj"):
        from_weights(str(pretrained), changed(LORA, target_modules=["qkv_proj", "o_proj"]))


def test_a_student_of_some_of_the_layers(pretrained: Path, tmp_path: Path) -> None:
    whole: Any = AutoModelForCausalLM.from_pretrained(pretrained)
    student = from_weights(str(pretrained), changed(FULL, keep_layers=2))
    assert student.kept_layers == [0, 2]
    save(student, tmp_path, FULL)
    cut: Any = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert cut.config.num_hidden_layers == 2
    for place, number in enumerate((0, 2)):
        expected = whole.model.layers[number].state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in cut.model.layers[place].state_dict().items())
    step_by_step = cut.generate(INPUT, max_new_tokens=4, do_sample=False)  # with its cache
    assert step_by_step.shape == (1, 8)
    with pytest.raises(InvalidInput, match="at most 3"):
        from_weights(str(pretrained), changed(FULL, keep_layers=4))


@pytest.mark.parametrize(("layers", "kept", "numbers"), [(30, 10, [0, 3, 6, 10, 13, 16, 19, 23, 26, 29]), (5, 1, [0])])
def test_layers_are_kept_evenly(layers: int, kept: int, numbers: list[int]) -> None:
    assert evenly_spaced(layers, kept) == numbers


@pytest.mark.parametrize(
    ("weights", "tokenizer"),
    [
        ("mlflow_model_folder/data/model", "mlflow_model_folder/data/tokenizer"),
        ("mlflow_model_folder/model", "mlflow_model_folder/components/tokenizer"),
        ("data/model", "data/model"),
    ],
)
def test_a_registrys_mount_has_its_model_below(pretrained: Path, tmp_path: Path, weights: str, tokenizer: str) -> None:
    for folder in (weights, tokenizer):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for file in pretrained.iterdir():
        apart = "token" in file.name or file.suffix == ".jinja"
        (tmp_path / (tokenizer if apart else weights) / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.json").write_text("{}")  # of something else
    student = from_weights(locate(tmp_path, None), FULL)
    torch.testing.assert_close(
        logits(student.model.train(False)), logits(AutoModelForCausalLM.from_pretrained(pretrained))
    )


def test_several_models_below_are_told_apart(pretrained: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(pretrained, tmp_path / name)
    with pytest.raises(InvalidInput, match="several models: one, two"):
        locate(tmp_path, None)


def altered(pretrained: Path, folder: Path, file: str, **values: Any) -> Path:
    """A copy of the pretrained model in which a file of settings says something else."""
    shutil.copytree(pretrained, folder)
    settings = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(settings | values))
    return folder


def test_settings_of_a_sampling_that_is_off_do_not_hinder_the_saving(pretrained: Path, tmp_path: Path) -> None:
    off = {"do_sample": False, "temperature": 0.6, "top_p": 0.9, "max_length": 77}
    source = altered(pretrained, tmp_path / "source", "generation_config.json", **off)
    save(from_weights(str(source), FULL), tmp_path / "out", FULL)
    kept = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert kept["max_length"] == 77
    assert not {"temperature", "top_p"} & {name for name, value in kept.items() if value is not None}


def test_sampling_that_is_on_stays(pretrained: Path, tmp_path: Path) -> None:
    on = {"do_sample": True, "temperature": 0.6}
    source = altered(pretrained, tmp_path / "source", "generation_config.json", **on)
    save(from_weights(str(source), FULL), tmp_path / "out", FULL)
    assert on.items() <= json.loads((tmp_path / "out" / "generation_config.json").read_text()).items()


def test_a_padding_that_the_model_does_not_know_is_replaced(pretrained: Path, tmp_path: Path) -> None:
    shutil.copytree(pretrained, tmp_path / "source")
    tokenizer = load_tokenizer(str(tmp_path / "source"))
    tokenizer.add_special_tokens({"pad_token": "[NEW PAD]"})
    tokenizer.save_pretrained(tmp_path / "source")
    student = from_weights(str(tmp_path / "source"), FULL)
    assert student.tokenizer.pad_token_id == student.tokenizer.eos_token_id


def test_an_end_of_turn_that_the_model_does_not_know_is_refused(pretrained: Path, tmp_path: Path) -> None:
    shutil.copytree(pretrained, tmp_path / "source")
    tokenizer = load_tokenizer(str(tmp_path / "source"))
    tokenizer.add_special_tokens({"eos_token": "[NEW END]"})
    tokenizer.save_pretrained(tmp_path / "source")
    with pytest.raises(InvalidInput, match="end of turn is token"):
        from_weights(str(tmp_path / "source"), FULL)


def test_weights_that_are_cut_short_are_a_model_that_is_not_there(pretrained: Path, tmp_path: Path) -> None:
    shutil.copytree(pretrained, tmp_path / "source")
    weights = tmp_path / "source" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(NotFound, match="cannot load the model"):
        from_weights(str(tmp_path / "source"), FULL)
