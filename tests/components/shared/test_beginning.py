from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.beginning import Continued, common_beginning
from shared.labels import label_logprobs
from shared.scratch import Recipe, initial_model, make_config, train_tokenizer

TOKENIZER = train_tokenizer(["one two three four"] * 4, 300)
RECIPE = Recipe(hidden_size=32, num_layers=2, num_heads=4, intermediate_size=48, vocab_size=300)
MODEL: Any = initial_model(make_config(RECIPE, TOKENIZER), 0)
TOKENS = st.integers(6, 250)


@given(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=12), min_size=2, max_size=5))
def test_the_common_beginning_is_common_and_leaves_something(tails: list[list[int]]) -> None:
    prompts = [[9] * 10 + tail for tail in tails]
    found = common_beginning(prompts)
    assert len(found) >= 10
    for prompt in prompts:
        assert prompt[: len(found)] == found
        assert len(prompt) > len(found)
    assert common_beginning(tails) == [] or len(common_beginning(tails)) >= 8


def test_one_prompt_alone_has_nothing_to_share() -> None:
    assert common_beginning([[9] * 20]) == common_beginning([]) == []


@given(
    st.lists(TOKENS, min_size=8, max_size=20),
    st.lists(st.lists(TOKENS, min_size=1, max_size=9), min_size=1, max_size=4),
    st.lists(st.lists(TOKENS, min_size=1, max_size=4), min_size=2, max_size=4),
)
@settings(max_examples=20)
def test_a_continued_model_equals_the_model_on_the_whole(
    start: list[int], rests: list[list[int]], labels: list[list[int]]
) -> None:
    with torch.inference_mode():
        continued: Any = Continued.of(MODEL, start)
        whole = label_logprobs(MODEL, [start + rest for rest in rests], labels, 0)
        torch.testing.assert_close(label_logprobs(continued, rests, labels, 0), whole, rtol=1e-3, atol=1e-2)


def test_no_beginning_is_no_detour() -> None:
    assert Continued.of(MODEL, []) is None
