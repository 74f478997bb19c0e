from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.generate import Generated, Sampling, choose, generate, length_batches
from shared.scratch import Recipe, initial_model, make_config, train_tokenizer
from shared.slots import slots_fit

TOKENIZER = train_tokenizer(["one two three four"] * 4, 300)
RECIPE = Recipe(hidden_size=32, num_layers=1, num_heads=2, intermediate_size=48, vocab_size=300)
LONG = Sampling(max_tokens=20)
PROMPTS = [[70], [71, 72, 73], [74, 75], [76] * 9]


def model(scale: float = 8.0) -> Any:
    made: Any = initial_model(make_config(RECIPE, TOKENIZER), 0)
    with torch.no_grad():  # sharper than as drawn, so that the likeliest token leads clearly
        for parameter in made.parameters():
            parameter.mul_(scale if parameter.dim() > 1 else 1)
    return made


def ending() -> tuple[Any, list[tuple[int, int]]]:
    """A model that ends some answers early, and the (rows, tokens) that it reads each time."""
    made = model()
    bias = torch.zeros(len(TOKENIZER))
    bias[TOKENIZER.eos_token_id] = 2
    read: list[tuple[int, int]] = []
    made.lm_head.register_forward_hook(lambda layer, inputs, output: output + bias)
    made.model.embed_tokens.register_forward_hook(lambda layer, inputs, output: read.append(tuple(inputs[0].shape)))
    return made, read


ENDING, _ = ending()


def some_prompts(beginning: Sequence[int] = ()) -> list[list[int]]:
    draw = random.Random(0)
    return [[*beginning, *(draw.randrange(70, 250) for _ in range(draw.randrange(2, 12)))] for _ in range(12)]


def answers(rows: int, sampling: Sampling, made: Any, prompts: Sequence[Sequence[int]] = PROMPTS) -> list[Generated]:
    found = [answer for batch in generate(made, TOKENIZER, prompts, sampling, rows) for answer in batch]
    return sorted(found, key=lambda answer: answer.index)


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 7))
def test_batches_hold_every_prompt_once_and_the_longest_first(lengths: list[int], rows: int) -> None:
    batches = list(length_batches([[0] * length for length in lengths], rows))
    order = [index for batch in batches for index in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[index] for index in order] == sorted(lengths, reverse=True)
    assert all(len(batch) <= rows for batch in batches)


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 200), st.integers(0, 5))
def test_a_batch_of_several_holds_no_more_tokens_than_asked(lengths: list[int], tokens: int, tail: int) -> None:
    batches = list(length_batches([[0] * length for length in lengths], tokens=tokens, tail=tail))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * (lengths[batch[0]] + tail) <= tokens
    for batch, _ in pairwise(batches):  # and no fewer than fit
        assert (len(batch) + 1) * (lengths[batch[0]] + tail) > tokens


def test_a_batch_answers_as_each_prompt_alone() -> None:
    made = model()
    assert answers(4, Sampling(max_tokens=6), made) == answers(1, Sampling(max_tokens=6), made)


def test_rows_that_finish_leave_the_batch_and_change_no_other() -> None:
    made, read = ending()
    together = answers(12, LONG, made, some_prompts())
    rows = [count for count, _ in read]
    assert rows[0] == 12
    assert rows == sorted(rows, reverse=True)
    assert rows[-1] == 8
    lengths = {answer.tokens for answer in together}
    assert min(lengths) < 4
    assert max(lengths) == LONG.max_tokens
    assert together == answers(1, LONG, made, some_prompts())


def test_a_model_whose_memory_cannot_lose_rows_writes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = ending()
    expected = answers(1, LONG, made, some_prompts())
    monkeypatch.setattr("shared.generate.forgets_rows", lambda cache: False)
    assert answers(12, LONG, made, some_prompts()) == expected


def test_what_all_prompts_begin_with_is_read_once() -> None:
    made, read = ending()
    prompts = some_prompts(beginning=[80 + place for place in range(30)])
    expected = [answer for index in range(12) for answer in answers(1, LONG, made, [prompts[index]])]
    read.clear()
    found = answers(12, LONG, made, prompts)
    assert read[:2] == [(1, 30), (12, max(map(len, prompts)) - 30)]
    assert [(answer.text, answer.tokens) for answer in found] == [(each.text, each.tokens) for each in expected]


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


def test_free_places_are_filled_again() -> None:
    made, read = ending()
    prompts = some_prompts()
    found = answers(4, LONG, made, prompts)
    joining = [width for _, width in read if width > 1]
    steps = sum(width == 1 for _, width in read)
    assert len(joining) > len(prompts) / 4  # more often than batches of four would begin
    assert steps < 2 * LONG.max_tokens  # three batches, each with a text of full length, would take three times as many
    assert max(count for count, _ in read) == 4
    assert found == answers(len(prompts), LONG, made, prompts)  # which is transformers' own loop


@given(
    st.lists(st.lists(st.integers(6, 250), min_size=1, max_size=12), min_size=2, max_size=9),
    st.integers(1, 4),
    st.integers(1, 12),
)
@settings(max_examples=20, deadline=None)
def test_refilled_places_write_what_a_batch_writes(prompts: list[list[int]], rows: int, longest: int) -> None:
    sampling = Sampling(max_tokens=longest)
    assert answers(rows, sampling, ENDING, prompts) == answers(len(prompts), sampling, ENDING, prompts)


def test_a_model_with_a_sliding_window_is_left_to_transformers() -> None:
    from transformers import MistralConfig, MistralForCausalLM

    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = MistralConfig(vocab_size=len(TOKENIZER), num_key_value_heads=1, sliding_window=4, **sizes)
    made: Any = MistralForCausalLM(config)
    assert slots_fit(ENDING)
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
