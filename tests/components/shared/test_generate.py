from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.generate import Generated, Sampling, _batched, _refilled, choose, generate, length_batches
from shared.scratch import Recipe, initial_model, make_config, train_tokenizer
from shared.slots import slots_fit

TOKENIZER = train_tokenizer(["one two three four"] * 4, 300)
RECIPE = Recipe(hidden_size=32, num_layers=1, num_heads=2, intermediate_size=48, vocab_size=300)
PROMPTS = [[70], [71, 72, 73], [74, 75], [76] * 9]


def model(scale: float = 8.0) -> Any:
    made: Any = initial_model(make_config(RECIPE, TOKENIZER), 0)
    with torch.no_grad():  # sharper than as drawn, so that the likeliest token leads clearly
        for parameter in made.parameters():
            parameter.mul_(scale if parameter.dim() > 1 else 1)
    return made


MODEL = model()


def answers(rows: int, sampling: Sampling, made: Any) -> list[Generated]:
    found = [answer for batch in generate(made, TOKENIZER, PROMPTS, sampling, rows) for answer in batch]
    return sorted(found, key=lambda answer: answer.index)


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 7))
def test_batches_hold_every_prompt_once_and_the_longest_first(lengths: list[int], rows: int) -> None:
    batches = list(length_batches([[0] * length for length in lengths], rows))
    order = [index for batch in batches for index in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[index] for index in order] == sorted(lengths, reverse=True)
    assert all(len(batch) <= rows for batch in batches)


def test_a_batch_answers_as_each_prompt_alone() -> None:
    made = model()
    assert answers(4, Sampling(max_tokens=6), made) == answers(1, Sampling(max_tokens=6), made)


def test_greedy_takes_the_likeliest_token() -> None:
    made = model()
    for answer in answers(4, Sampling(max_tokens=1), made):
        with torch.inference_mode():
            best = int(made(torch.tensor([PROMPTS[answer.index]])).logits[0, -1].argmax())
        assert answer.text == str(TOKENIZER.decode([best], skip_special_tokens=True)).strip()


def test_the_end_token_ends_an_answer_and_is_not_part_of_it() -> None:
    made = model()
    with torch.no_grad():  # every hidden state now points at the end token
        made.model.norm.weight.zero_()
        made.lm_head.weight = torch.nn.Parameter(torch.zeros_like(made.lm_head.weight))
        made.lm_head.register_forward_hook(
            lambda layer, inputs, output: output.index_fill(-1, torch.tensor([TOKENIZER.eos_token_id]), 1.0)
        )
    for answer in answers(2, Sampling(max_tokens=5), made):
        assert (answer.text, answer.tokens, answer.finished) == ("", 1, True)


def test_a_cut_answer_says_so_and_counts_its_tokens() -> None:
    for answer in answers(2, Sampling(max_tokens=3), model()):
        assert answer.prompt_tokens == len(PROMPTS[answer.index])
        assert answer.finished == (answer.tokens < 3) or answer.tokens == 3


def test_sampling_follows_the_seed() -> None:
    made, hot = model(), Sampling(temperature=5.0, max_tokens=8)
    torch.manual_seed(0)
    first = answers(4, hot, made)
    torch.manual_seed(0)
    assert answers(4, hot, made) == first
    assert answers(4, hot, made) != first


@given(
    st.lists(st.lists(st.integers(6, 250), min_size=1, max_size=12), min_size=1, max_size=9),
    st.integers(1, 4),
    st.integers(1, 12),
)
@settings(max_examples=25, deadline=None)
def test_refilled_places_say_what_transformers_says_alone(prompts: list[list[int]], rows: int, longest: int) -> None:
    sampling, ends = Sampling(max_tokens=longest), set(range(40, 90))  # many ends: texts of many lengths
    pad = int(TOKENIZER.pad_token_id)
    alone = {index: tokens for ((index, _, tokens),) in _batched(MODEL, prompts, sampling, 1, pad, ends)}
    together = {
        index: tokens for batch in _refilled(MODEL, prompts, sampling, rows, pad, ends) for index, _, tokens in batch
    }
    assert together == alone


def test_a_model_with_a_sliding_window_is_left_to_transformers() -> None:
    from transformers import MistralConfig, MistralForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = MistralConfig(vocab_size=len(TOKENIZER), num_key_value_heads=1, sliding_window=4, **sizes)
    made: Any = MistralForCausalLM(config)
    assert slots_fit(MODEL)
    assert not slots_fit(made)
    assert len(answers(4, Sampling(max_tokens=6), made)) == len(PROMPTS)


def test_a_model_with_settings_of_its_own_is_left_to_transformers() -> None:
    made = model()
    made.generation_config.repetition_penalty = 1.3
    assert not slots_fit(made)


def test_top_p_keeps_the_likeliest_tokens_that_reach_it() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(500, -1)
    torch.manual_seed(0)
    assert set(choose(logits, Sampling(temperature=1.0, top_p=0.6)).tolist()) == {0, 1}
    assert set(choose(logits, Sampling(temperature=1.0, top_p=0.1)).tolist()) == {0}
    assert set(choose(logits, Sampling(temperature=1.0)).tolist()) == {0, 1, 2, 3}
    assert set(choose(logits, Sampling(temperature=0.0)).tolist()) == {0}
