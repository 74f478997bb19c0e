from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.chat import answer_ids, end_ids, prompt_ids
from shared.errors import InvalidInput, NotFound
from shared.scratch import ROLES, Recipe, initial_model, make_config, train_tokenizer, untrained

TEXTS = ["the goalkeeper saved the penalty", "the minister lost the vote", "sport", "politics"] * 5
SMALL = Recipe(hidden_size=16, num_layers=2, num_heads=2, intermediate_size=32, vocab_size=300)
TOKENIZER = train_tokenizer(TEXTS, SMALL.vocab_size)


def same(left: torch.nn.Module, right: torch.nn.Module) -> bool:
    mine, theirs = left.state_dict(), right.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_the_same_texts_give_the_same_tokenizer() -> None:
    again = train_tokenizer(iter(TEXTS), SMALL.vocab_size)
    assert again.get_vocab() == TOKENIZER.get_vocab()
    assert len(TOKENIZER) <= SMALL.vocab_size
    assert TOKENIZER.get_vocab() != train_tokenizer(["something else"] * 5, SMALL.vocab_size).get_vocab()


@given(st.text())
@settings(max_examples=60, deadline=None)
def test_any_text_survives_the_tokenizer(text: str) -> None:
    if not any(special in text for special in (*ROLES, "<|end|>", "<|pad|>")):
        assert TOKENIZER.decode(answer_ids(TOKENIZER, text)) == text


def test_a_frequent_label_is_one_token() -> None:
    assert len(answer_ids(train_tokenizer(TEXTS, 400), "sport")) == 1


def test_template_opens_and_closes_turns_with_one_token_each() -> None:
    prompt = prompt_ids(TOKENIZER, [{"role": "user", "content": "the vote"}])
    assert TOKENIZER.decode(prompt) == "<|user|>the vote<|end|><|assistant|>"
    assert end_ids(TOKENIZER) == [TOKENIZER.eos_token_id]
    assert TOKENIZER.pad_token_id != TOKENIZER.eos_token_id


def test_seed_and_config_bring_the_weights_back() -> None:
    config = make_config(SMALL, TOKENIZER)
    assert same(initial_model(config, 3), initial_model(config, 3))
    assert not same(initial_model(config, 3), initial_model(config, 4))


def test_making_weights_leaves_the_random_state_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    initial_model(make_config(SMALL, TOKENIZER), 9)
    assert torch.equal(torch.rand(1), expected)


def test_untrained_is_what_training_began_with(tmp_path: Path) -> None:
    first = initial_model(make_config(SMALL, TOKENIZER), 5)
    trained = initial_model(make_config(SMALL, TOKENIZER), 5)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(1.0)
    trained.save_pretrained(tmp_path)
    (tmp_path / "training.json").write_text(json.dumps({"from_scratch": True, "seed": 5}))
    assert same(untrained(tmp_path), first)


def test_untrained_needs_a_student_made_from_scratch(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"training\.json"):
        untrained(tmp_path)
    (tmp_path / "training.json").write_text(json.dumps({"from_scratch": False, "seed": 5}))
    with pytest.raises(InvalidInput, match="from scratch"):
        untrained(tmp_path)


@pytest.mark.parametrize(
    ("sizes", "field"),
    [
        ({"hidden_size": 0, "num_layers": 1.5}, "recipe.hidden_size"),
        ({"hidden_size": 0, "num_layers": 1.5}, "recipe.num_layers"),
        ({"hidden_size": 20, "num_heads": 4}, "recipe.hidden_size"),
        ({"vocab_size": 100}, "recipe.vocab_size"),
        ({"num_heads": True}, "recipe.num_heads"),
    ],
)
def test_impossible_sizes_are_refused(sizes: dict[str, int], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Recipe(**sizes)
    assert field in {problem.field for problem in refused.value.problems}
