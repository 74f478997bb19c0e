"""Text from a local model, the longest prompts first; the place of a finished text is taken by the next prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

from shared.chat import end_ids
from shared.slots import Slots, slots_fit


@dataclass(frozen=True)
class Sampling:
    """How a text is drawn; temperature 0 takes the likeliest token each time."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256


@dataclass(frozen=True)
class Generated:
    """`index` is the prompt's place in the list given; `finished` is False when `max_tokens` cut the text."""

    index: int
    text: str
    prompt_tokens: int
    tokens: int
    finished: bool


def length_batches(prompts: Sequence[Sequence[int]], rows: int) -> Iterator[list[int]]:
    """Indices of prompts in batches of at most `rows` of about the same length, the longest first.

    Longest first: a batch that does not fit in memory fails at once, not at the end.
    """
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    for start in range(0, len(order), rows):
        yield order[start : start + rows]


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    rows: int = 16,
) -> Iterator[list[Generated]]:
    """Answers to `prompts` (token ids) as they are finished, longest prompts first, at most `rows` at a time."""
    ends = {*end_ids(tokenizer), int(tokenizer.eos_token_id)}
    make = _refilled if slots_fit(model) else _batched
    for texts in make(model, prompts, sampling, rows, int(tokenizer.pad_token_id), ends):
        yield [_generated(tokenizer, *text, ends) for text in texts]


Made = tuple[int, int, list[int]]  # index, tokens of the prompt, tokens of the answer


def _refilled(
    model: Any, prompts: Sequence[Sequence[int]], sampling: Sampling, rows: int, pad: int, ends: set[int]
) -> Iterator[list[Made]]:
    """Places of finished texts are filled again, when a quarter of them is free."""
    waiting = iter([(index, prompts[index]) for batch in length_batches(prompts, rows) for index in batch])
    slots = Slots(model, lambda logits: choose(logits, sampling), pad, ends, sampling.max_tokens)
    while True:
        free = rows - len(slots.texts) + slots.done
        if texts := slots.fill(list(islice(waiting, free))):
            yield [(text.index, text.prompt_tokens, text.tokens) for text in texts]
        if not slots.texts:
            return
        enough = max(1, len(slots.texts) // 4)
        while slots.done < enough:
            slots.step()


def choose(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """The next tokens, [rows], of logits [rows, vocabulary]."""
    if sampling.temperature <= 0:
        return logits.argmax(-1)
    shares = (logits.float() / sampling.temperature).softmax(-1)
    if sampling.top_p < 1:
        ordered, places = shares.sort(-1, descending=True)
        # the likeliest tokens whose sum first reaches top_p (Holtzman et al., arXiv 1904.09751)
        ordered = ordered.masked_fill(ordered.cumsum(-1) - ordered >= sampling.top_p, 0.0)
        shares = torch.zeros_like(shares).scatter(-1, places, ordered)
    return torch.multinomial(shares, 1)[:, 0]


def _batched(
    model: Any, prompts: Sequence[Sequence[int]], sampling: Sampling, rows: int, pad: int, ends: set[int]
) -> Iterator[list[Made]]:
    """By transformers' own loop, for models that keep another state than keys and values."""
    drawn = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    for batch in length_batches(prompts, rows):
        width = len(prompts[batch[0]])
        padding = [width - len(prompts[index]) for index in batch]
        inputs = torch.tensor([[pad] * gap + list(prompts[index]) for gap, index in zip(padding, batch, strict=True)])
        mask = torch.tensor([[0] * gap + [1] * (width - gap) for gap in padding])
        output = model.generate(
            input_ids=inputs.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=sampling.max_tokens,
            eos_token_id=sorted(ends),
            pad_token_id=pad,
            **(drawn if sampling.temperature > 0 else {"do_sample": False, "temperature": None, "top_p": None}),
        )
        made = output[:, width:].tolist()
        yield [(index, len(prompts[index]), tokens) for index, tokens in zip(batch, made, strict=True)]


def _generated(
    tokenizer: PreTrainedTokenizerBase, index: int, prompt_tokens: int, tokens: list[int], ends: set[int]
) -> Generated:
    stop = next((place for place, token in enumerate(tokens) if token in ends), None)
    text = str(tokenizer.decode(tokens[:stop], skip_special_tokens=True)).strip()
    return Generated(index, text, prompt_tokens, len(tokens) if stop is None else stop + 1, stop is not None)
