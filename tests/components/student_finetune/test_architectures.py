"""Students of other makes than Llama: trained, cut down and saved, or refused with the reason before anything is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma3Config, GPT2Config, MistralConfig, MixtralConfig, Qwen3MoeConfig

from shared.errors import InvalidInput
from shared.weights import load_model
from student_finetune.main import main
from student_finetune.settings import LORA, Hyperparameters
from student_finetune.students import from_weights

Arguments = Callable[..., list[str]]
SIZE: dict[str, Any] = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
MIXTURE: dict[str, Any] = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8}
SEEING: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


@pytest.fixture
def pretrained_as(pretrained: Path, tmp_path: Path) -> Callable[[Any], Path]:
    """Weights of another architecture beside the tokenizer of `pretrained`."""

    def make(config: Any) -> Path:
        folder = tmp_path / "other"
        torch.manual_seed(3)
        config.pad_token_id, config.eos_token_id = 0, 1
        factory: Any = AutoModelForCausalLM
        factory.from_config(config, dtype=torch.float32).save_pretrained(folder)
        for file in (*pretrained.glob("*token*"), pretrained / "chat_template.jinja"):
            (folder / file.name).write_bytes(file.read_bytes())
        return folder

    return make


def chosen(**values: Any) -> Hyperparameters:
    return Hyperparameters(**{**vars(LORA), "lora_alpha": 32, **values})


def layers(folder: Path, kept: int) -> int:
    model: Any = from_weights(str(folder), chosen(keep_layers=kept)).model
    return len(model.get_decoder().layers)


def seeing() -> Any:
    text = {**SIZE, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 64}
    return Gemma3Config(text_config=text, vision_config=SEEING, mm_tokens_per_image=1, image_token_index=2)


@pytest.mark.parametrize("options", [{}, {"trained_layers": 2}, {"lora_rank": 0}, {"keep_layers": 2}], ids=str)
def test_a_model_that_also_sees_learns_by_its_text_alone(
    arguments: Arguments, pretrained_as: Callable[[Any], Path], tmp_path: Path, options: dict[str, Any]
) -> None:
    folder = pretrained_as(seeing())
    given = {"num_epochs": 2, "learning_rate": 0.01, **options}
    main(arguments(recipe=None, student_folder=folder, hyperparameters=given))
    before, after = (load_model(str(f), torch.float32).state_dict() for f in (folder, tmp_path / "model"))
    same = {name: torch.equal(value, before[name]) for name, value in after.items() if name in before}
    assert all(unchanged for name, unchanged in same.items() if "vision" in name)
    assert not all(same.values())


def test_lora_is_for_the_text_alone(pretrained_as: Callable[[Any], Path]) -> None:
    model = from_weights(str(pretrained_as(seeing())), chosen()).model
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert trained
    assert all("language_model" in name for name in trained)


def test_layers_that_are_not_alike_cannot_be_left_out(pretrained_as: Callable[[Any], Path]) -> None:
    folder = pretrained_as(Qwen3MoeConfig(**SIZE, **MIXTURE, mlp_only_layers=[1]))
    with pytest.raises(InvalidInput, match=r"hyperparameters\.keep_layers: .*qwen3_moe.* are not alike"):
        from_weights(str(folder), chosen(keep_layers=2))
    assert layers(folder, 4) == 4


def test_layers_of_experts_are_left_out(pretrained_as: Callable[[Any], Path]) -> None:
    folder = pretrained_as(MixtralConfig(**SIZE, num_local_experts=2, num_experts_per_tok=1))
    assert layers(folder, 2) == 2


def test_a_model_without_a_list_of_layers_is_refused(pretrained_as: Callable[[Any], Path]) -> None:
    folder = pretrained_as(GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=2, bos_token_id=1))
    with pytest.raises(InvalidInput, match="students like gpt2 are not supported"):
        from_weights(str(folder), chosen(lora_rank=0))


def test_a_student_with_a_window_learns_labels_of_several_tokens(
    arguments: Arguments, pretrained_as: Callable[[Any], Path], tmp_path: Path
) -> None:
    folder = pretrained_as(MistralConfig(**SIZE, sliding_window=6))
    options = {"num_epochs": 8, "learning_rate": 0.01, "lora_rank": 0, "batch_size": 8}
    method = {"method": "label_logits"}
    main(arguments(recipe=None, student_folder=folder, distillation=method, hyperparameters=options))
    facts = json.loads((tmp_path / "model" / "training.json").read_text())
    assert facts["loss"][-1]["loss"] < 0.5 * facts["loss"][0]["loss"]
    assert max(epoch["accuracy"] for epoch in facts["validation"]) == 1.0
