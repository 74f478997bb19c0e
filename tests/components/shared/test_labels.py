from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.chat import end_ids
from shared.labels import label_ids, label_logprobs
from shared.scratch import Recipe, initial_model, make_config, train_tokenizer

WORDS = ["the score was two", "a bill passed", "very good", "good", "bad"] * 4
TOKENIZER = train_tokenizer(WORDS, 300)
MODEL: Any = initial_model(
    make_config(Recipe(hidden_size=32, num_layers=2, num_heads=2, intermediate_size=48, vocab_size=300), TOKENIZER), 0
)
with torch.no_grad():  # weights as drawn are too small for a position or a mask to change anything
    for parameter in MODEL.parameters():
        parameter.mul_(8 if parameter.dim() > 1 else 1)

token = st.integers(6, len(TOKENIZER) - 1)
ids = st.lists(token, min_size=1, max_size=6)


def naive(prompt: list[int], label: list[int]) -> float:
    """One forward pass for one label, nothing padded."""
    with torch.inference_mode():
        logprobs = MODEL(torch.tensor([prompt + label])).logits[0].float().log_softmax(-1)
    return sum(float(logprobs[len(prompt) - 1 + place, token]) for place, token in enumerate(label))


def assert_exact(prompts: list[list[int]], labels: list[list[int]]) -> None:
    with torch.inference_mode():
        scores = label_logprobs(MODEL, prompts, labels, int(TOKENIZER.pad_token_id))
    expected = torch.tensor([[naive(prompt, label) for label in labels] for prompt in prompts])
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-3)


@given(
    st.lists(st.lists(token, min_size=1, max_size=12), min_size=1, max_size=5), st.lists(ids, min_size=2, max_size=5)
)
@settings(max_examples=30, deadline=None)
def test_one_pass_equals_one_pass_a_label(prompts: list[list[int]], labels: list[list[int]]) -> None:
    assert_exact(prompts, labels)


def test_single_token_labels_take_the_short_way() -> None:
    assert_exact([[7, 8, 9], [10], [11, 12]], [[20], [21], [22]])


def test_nested_labels_are_told_apart_by_their_end() -> None:
    assert label_ids(TOKENIZER, ["good", "bad"]) == [TOKENIZER("good")["input_ids"], TOKENIZER("bad")["input_ids"]]
    nested = label_ids(TOKENIZER, ["1", "12", "2"])
    assert all(label[-1:] == end_ids(TOKENIZER) for label in nested)
    assert_exact([[7, 8, 9], [30, 31]], nested)


def test_a_row_scores_the_same_in_any_batch() -> None:
    prompts = [[7 + i] * (1 + 3 * i) for i in range(5)]
    labels = [[20], [21, 22], [21, 23, 24]]
    with torch.inference_mode():
        together = label_logprobs(MODEL, prompts, labels, 0)
        alone = torch.cat([label_logprobs(MODEL, [prompt], labels, 0) for prompt in prompts])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("labels", [[[20], [21]], [[20, 22], [21]]])
def test_gradients_flow_to_the_weights(labels: list[list[int]]) -> None:
    MODEL.zero_grad()
    torch.autograd.backward(label_logprobs(MODEL, [[7, 8], [9]], labels, 0)[:, 0].sum())
    assert float(MODEL.get_input_embeddings().weight.grad.abs().sum()) > 0
    MODEL.zero_grad()
