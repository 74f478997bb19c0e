"""Text from a local model: batched by length, stopping early, in the order that suits the machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

from shared.chat import end_ids


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
    """Answers to `prompts` (token ids), a batch at a time, longest prompts first."""
    ends = {*end_ids(tokenizer), int(tokenizer.eos_token_id)}
    for batch in length_batches(prompts, rows):
        yield _generate_batch(model, tokenizer, [(i, prompts[i]) for i in batch], sampling, ends)


def _generate_batch(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[tuple[int, Sequence[int]]],
    sampling: Sampling,
    ends: set[int],
) -> list[Generated]:
    width = max(len(ids) for _, ids in prompts)
    pad = int(tokenizer.pad_token_id)
    inputs = torch.tensor([[pad] * (width - len(ids)) + list(ids) for _, ids in prompts])
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for _, ids in prompts])
    drawn = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    output = model.generate(
        input_ids=inputs.to(model.device),
        attention_mask=mask.to(model.device),
        max_new_tokens=sampling.max_tokens,
        eos_token_id=sorted(ends),
        pad_token_id=pad,
        **(drawn if sampling.temperature > 0 else {"do_sample": False, "temperature": None, "top_p": None}),
    )
    answers = []
    for (index, ids), tokens in zip(prompts, output[:, width:].tolist(), strict=True):
        stop = next((place for place, token in enumerate(tokens) if token in ends), None)
        text = str(tokenizer.decode(tokens[:stop], skip_special_tokens=True)).strip()
        answers.append(Generated(index, text, len(ids), len(tokens) if stop is None else stop + 1, stop is not None))
    return answers
