"""Prompts and answers reach a model in the format that it was trained on; chat_formats.json says where that is from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from smollm2 import SMOLLM2
from transformers import PreTrainedTokenizerFast

from shared.chat import answer_ids, end_ids, prompt_ids
from shared.scratch import train_tokenizer
from shared.weights import load_tokenizer, locate

FIXTURE = json.loads(Path(__file__).with_name("chat_formats.json").read_text(encoding="utf-8"))
TALK, ANSWER = FIXTURE["messages"], FIXTURE["answer"]


def tokenizer(chat: dict[str, Any]) -> Any:
    """A small tokenizer with this format's template and special tokens."""
    small: Any = train_tokenizer([message["content"] for message in TALK] * 3, 400)
    wrap: Any = PreTrainedTokenizerFast
    made = wrap(
        tokenizer_object=small._tokenizer,
        bos_token=chat["bos"],
        eos_token=chat["eos"],
        additional_special_tokens=chat["tokens"],
    )
    made.chat_template = chat["template"]
    return made


@pytest.mark.parametrize("name", FIXTURE["formats"])
def test_prompt_answer_and_end_are_the_documented_text(name: str) -> None:
    chat = FIXTURE["formats"][name]
    own = tokenizer(chat)
    prompt = prompt_ids(own, TALK)
    assert own.decode(prompt) == chat["prompt"]
    assert prompt.count(own.bos_token_id) == chat["prompt"].count(chat["bos"])  # none is added to the template's
    assert own.convert_ids_to_tokens(end_ids(own)) == [chat["end"]]
    trained = own.decode([*prompt, *answer_ids(own, ANSWER), *end_ids(own)])
    assert chat["whole"].startswith(trained)
    assert chat["whole"].removeprefix(trained).strip() in ("", chat["eos"])


def test_smollm2s_own_tokenizer_does_the_same() -> None:
    own: Any = load_tokenizer(locate(None, SMOLLM2))
    chat = FIXTURE["formats"]["smollm2"]
    assert own.decode(prompt_ids(own, TALK)) == chat["prompt"]
    assert own.convert_ids_to_tokens(end_ids(own)) == ["<|im_end|>"]
    question = TALK[1:2]
    assert own.decode(prompt_ids(own, question)) == tokenizer(chat).decode(prompt_ids(tokenizer(chat), question))
