from __future__ import annotations

import json
from typing import Any

import pytest

from shared.errors import InvalidInput
from student_finetune.settings import FULL, LORA, SCRATCH, parse_distillation, parse_hyperparameters, parse_recipe


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"batch_size": 1.5}, "batch_size"),
        ({"batch_size": True}, "batch_size"),
        ({"num_epochs": 0}, "num_epochs"),
        ({"warmup_ratio": 1.2}, "warmup_ratio"),
        ({"patience": 0}, "patience"),
        ({"seed": -1}, "seed"),
        ({"lora_rank": None}, "lora_rank"),
        ({"packing": "yes"}, "packing"),
        ({"keep_adapter": None}, "keep_adapter"),
        ({"learning_rat": 1e-3}, "learning_rat"),
        ({"batch_size": 10**400}, "batch_size"),
        ({"num_epochs": 2**63}, "num_epochs"),
        ({"keep_adapter": True, "keep_layers": 2}, "keep_adapter"),
    ],
)
def test_a_wrong_hyperparameter_is_named(value: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_hyperparameters(json.dumps(value), from_scratch=False)
    assert [problem.field for problem in refused.value.problems] == [f"hyperparameters.{field}"]


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_hyperparameters('{"seed": -1, "batch_size": 0, "rank": 3}', from_scratch=True)
    assert len(refused.value.problems) == 3


def test_defaults_depend_on_the_kind_of_student() -> None:
    assert parse_hyperparameters("{}", from_scratch=True) == SCRATCH
    assert parse_hyperparameters('{"lora_rank": 0}', from_scratch=False) == FULL
    lora = parse_hyperparameters("{}", from_scratch=False)
    assert (lora.learning_rate, lora.lora_rank, lora.lora_alpha) == (LORA.learning_rate, 16, 32)
    assert parse_hyperparameters('{"lora_rank": 4, "lora_alpha": 4}', from_scratch=False).lora_alpha == 4


@pytest.mark.parametrize("name", ["lora_rank", "trained_layers"])
def test_a_student_made_from_scratch_has_nothing_to_freeze(name: str) -> None:
    with pytest.raises(InvalidInput, match="pretrained"):
        parse_hyperparameters(json.dumps({name: 2}), from_scratch=True)


def test_distillation_is_checked() -> None:
    assert parse_distillation("{}").shares == {"response": 1.0}
    with pytest.raises(InvalidInput) as refused:
        parse_distillation('{"method": "magic", "weight": 1.5, "temperature": 0, "alpha": 1, "divergence": "tvd"}')
    fields = {problem.field for problem in refused.value.problems}
    assert fields == {f"distillation.{name}" for name in ("method", "weight", "temperature", "alpha", "divergence")}


@pytest.mark.parametrize(
    ("given", "shares", "temperature"),
    [
        ({"method": "response", "weight": 0.4}, {"response": 1.0}, 1.0),
        ({"method": "label_logits"}, {"response": 0.1, "label_logits": 0.9}, 2.0),
        ({"method": "label_logits", "weight": 0.4}, {"response": 0.6, "label_logits": 0.4}, 2.0),
        ({"method": "logits"}, {"response": 0.5, "logits": 0.5}, 1.0),
        ({"method": "logits", "weight": 1, "temperature": 3}, {"response": 0.0, "logits": 1.0}, 3.0),
        ({"method": {"response": 1, "label_logits": 3}}, {"response": 0.25, "label_logits": 0.75}, 2.0),
        ({"method": {"logits": 2, "label_logits": 2}}, {"logits": 0.5, "label_logits": 0.5}, 2.0),
    ],
)
def test_methods_are_shares_of_one(given: dict[str, Any], shares: dict[str, float], temperature: float) -> None:
    found = parse_distillation(json.dumps(given))
    assert found.shares == pytest.approx(shares)
    assert found.temperature == temperature


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"method": {}}, "method"),
        ({"method": {"logit": 1}}, "method"),
        ({"method": {"logits": 0}}, "method.logits"),
        ({"method": {"logits": "much"}}, "method.logits"),
        ({"method": {"logits": 1}, "weight": 0.5}, "weight"),
        ({"method": ["logits"]}, "method"),
        ({"method": "logits", "ramp": 1.5}, "ramp"),
    ],
)
def test_a_wrong_mixture_is_named(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_distillation(json.dumps(given))
    assert [problem.field for problem in refused.value.problems] == [f"distillation.{field}"]


def test_the_record_names_the_methods_beside_the_text() -> None:
    assert parse_distillation('{"method": "logits"}').to_json()["method"] == "logits"
    assert parse_distillation('{"method": {"response": 1, "label_logits": 1, "logits": 1}}').method == (
        "label_logits + logits"
    )
    assert parse_distillation("{}").method == "response"


def test_recipe_keeps_the_defaults_of_what_it_does_not_say() -> None:
    assert parse_recipe('{"num_layers": 3}').num_layers == 3
    assert parse_recipe("{}").vocab_size == 4096
    with pytest.raises(InvalidInput, match=r"recipe\.depth"):
        parse_recipe('{"depth": 3}')


def test_four_bits_are_not_cut_up() -> None:
    with pytest.raises(InvalidInput, match="sharding: does not go with quantization"):
        parse_hyperparameters('{"quantization": "4bit", "sharding": "full"}', from_scratch=False)
