"""From messages to token ids, by the model's own chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.errors import InvalidInput
from shared.rows import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DATE = "26 Jul 2024"
"""Today's date for templates that tell it, Llama 3's; their own fallback, lest prompts change overnight."""


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message]) -> list[int]:
    """Token ids of a prompt up to and including the header of the assistant's turn."""
    return _ids(tokenizer, _render(tokenizer, prompt, generate=True))


def answer_ids(tokenizer: PreTrainedTokenizerBase, answer: str) -> list[int]:
    """Token ids of an answer's text alone.  Prompt and answer are tokenised apart, so their border is exact."""
    return _ids(tokenizer, answer)


def end_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The end-of-turn token, by which the template closes an assistant's turn and generation stops."""
    question: list[Message] = [{"role": "user", "content": "q"}]
    closed = _render(tokenizer, [*question, {"role": "assistant", "content": "<answer>"}], generate=False)
    ids = _ids(tokenizer, closed.rpartition("<answer>")[2])
    added = tokenizer.added_tokens_decoder
    # some templates put a space before it
    marks = [number for number in ids if number in added and added[number].special] or ids
    return marks[:1] or [int(tokenizer.eos_token_id)]


def _render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, generate: bool) -> str:
    if not tokenizer.chat_template:
        raise InvalidInput("the model has no chat template: choose an instruct model")
    from jinja2 import TemplateError

    plain: Any = [dict(message) for message in messages]
    try:
        text = tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=generate, date_string=DATE)
    except TemplateError as error:  # that a template raises itself: it knows no system messages, say
        raise InvalidInput(f"the model's chat template refuses the messages: {error}") from None
    return str(text)


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
