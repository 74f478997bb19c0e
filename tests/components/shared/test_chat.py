from __future__ import annotations

from typing import Any

import pytest
from smollm2 import SMOLLM2
from transformers import PreTrainedTokenizerBase

from shared.chat import answer_ids, end_ids, prompt_ids
from shared.errors import InvalidInput
from shared.rows import Message
from shared.scratch import train_tokenizer
from shared.weights import load_tokenizer, materialise

TALK: list[Message] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Name a colour."},
    {"role": "assistant", "content": "Red."},
    {"role": "user", "content": "  Another, please\n"},
]


@pytest.fixture(scope="module", params=["scratch", "smollm2"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    if request.param == "scratch":
        return train_tokenizer(["Name a colour.", "Red.", "Blue"], 300)
    return load_tokenizer(str(materialise(SMOLLM2)))


def test_prompt_answer_and_end_are_the_template_of_the_whole_talk(tokenizer: PreTrainedTokenizerBase) -> None:
    talk: Any = [*TALK, {"role": "assistant", "content": "Blue"}]
    whole = tokenizer.apply_chat_template(talk, tokenize=False)
    parts = prompt_ids(tokenizer, TALK) + answer_ids(tokenizer, "Blue") + end_ids(tokenizer)
    assert str(whole).rstrip("\n") == tokenizer.decode(parts)
    assert parts == tokenizer(str(whole), add_special_tokens=False)["input_ids"][: len(parts)]


def test_end_is_one_special_token(tokenizer: PreTrainedTokenizerBase) -> None:
    (end,) = end_ids(tokenizer)
    assert end in tokenizer.all_special_ids
    assert end == tokenizer.eos_token_id


def test_answer_holds_no_special_token(tokenizer: PreTrainedTokenizerBase) -> None:
    assert not set(answer_ids(tokenizer, "Blue, or green?")) & set(tokenizer.all_special_ids)


def test_a_base_model_is_refused() -> None:
    plain = train_tokenizer(["text"], 300)
    plain.chat_template = None
    with pytest.raises(InvalidInput, match="chat template"):
        prompt_ids(plain, TALK)


def test_a_template_that_tells_the_date_tells_the_same_every_day() -> None:
    """Llama 3's: else a run that goes on tomorrow has other prompts."""
    tokenizer = train_tokenizer(["one two"] * 4, 300)
    tokenizer.chat_template = (
        "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
        "{{ date_string }}: {{ messages[0].content }}"
    )
    assert tokenizer.decode(prompt_ids(tokenizer, [{"role": "user", "content": "one"}])) == "26 Jul 2024: one"


@pytest.mark.parametrize("between", ["", " ", "\n"])
def test_what_a_template_puts_before_the_end_is_not_the_end(between: str) -> None:
    tokenizer = train_tokenizer(["one two"] * 4, 300)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}" + repr(between)[1:-1] + "<|end|>{% endfor %}"
    assert end_ids(tokenizer) == [tokenizer.eos_token_id]


def test_messages_that_a_template_refuses_are_a_user_s_mistake() -> None:
    tokenizer = train_tokenizer(["one two"] * 4, 300)
    tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(InvalidInput, match="template refuses the messages: System role not supported"):
        prompt_ids(tokenizer, TALK)
