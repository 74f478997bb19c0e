"""Log probabilities of whole labels from one forward pass.

All labels of a row are appended to its prompt at once; a mask lets each label see the prompt and itself only, and
positions start again after the prompt for each.  So a label of several tokens is scored exactly, and k labels cost
one pass over the prompt instead of k; except in models where a mask does not keep them apart (see `branches`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

from shared.branches import stay_apart
from shared.chat import answer_ids, end_ids


def label_ids(tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]) -> list[list[int]]:
    """Token ids of each label; the end-of-turn token is added to all when one label begins another."""
    ids = [answer_ids(tokenizer, label) for label in labels]
    nested = any(a != b and b[: len(a)] == a for a in ids for b in ids)
    return [label + end_ids(tokenizer) for label in ids] if nested else ids


def label_logprobs(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], labels: Sequence[Sequence[int]], pad_id: int
) -> torch.Tensor:
    """log P(label | prompt), not normalised over the labels: float32 [rows, labels].

    `prompts` and `labels` are token ids.  Differentiable: training and scoring use the same function.
    """
    inputs, tails = _pack(prompts, labels, pad_id)
    device = next(model.parameters()).device
    if len(labels) > 1 and tails and not stay_apart(model, inputs.shape[1]):
        return torch.cat([label_logprobs(model, prompts, [label], pad_id) for label in labels], dim=1)
    if len(labels) > 1 and tails:
        mask, positions = _tree(prompts, labels, inputs.shape[1])
        dtype = next(model.parameters()).dtype
        additive = torch.zeros(mask.shape, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
        attention = additive[:, None]
    else:
        lengths = [len(prompt) + tails for prompt in prompts]
        attention = torch.tensor([[0] * (inputs.shape[1] - length) + [1] * length for length in lengths])
        positions = (attention.cumsum(1) - 1).clamp(min=0)
    logits = model(
        input_ids=inputs.to(device),
        attention_mask=attention.to(device),
        position_ids=positions.to(device),
        logits_to_keep=1 + tails,
        use_cache=False,
    ).logits
    logprobs = logits.float().log_softmax(-1)  # [rows, 1 + tails, vocabulary]
    return torch.stack(_sums(logprobs, labels), dim=1)


def _pack(prompts: Sequence[Sequence[int]], labels: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, int]:
    """Prompts padded on the left, then every label without its last token (whose successor nobody asks for)."""
    tail = [token for label in labels for token in label[:-1]]
    width = max(map(len, prompts))
    rows = [[pad_id] * (width - len(prompt)) + list(prompt) + tail for prompt in prompts]
    return torch.tensor(rows), len(tail)


def _tree(
    prompts: Sequence[Sequence[int]], labels: Sequence[Sequence[int]], width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Who sees whom, bool [rows, width, width], and positions, int [rows, width]."""
    tails = [len(label) - 1 for label in labels]
    start = width - sum(tails)
    mask = torch.ones(width, width, dtype=torch.bool).tril()
    positions = torch.arange(width) - start
    begin = start
    for tail in tails:
        end = begin + tail
        mask[begin:end, start:begin] = False
        positions[begin:end] = torch.arange(tail)
        begin = end
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    padding = torch.arange(width)[None] < (start - lengths)[:, None]  # [rows, width]
    visible = mask[None] & ~padding[:, None, :]
    visible |= torch.eye(width, dtype=torch.bool)[None]  # a padding position sees itself: no row without a key
    return visible, (positions[None] + lengths[:, None]).clamp(min=0)


def _sums(logprobs: torch.Tensor, labels: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """One [rows] tensor a label: the first token is predicted at the prompt's end, the others inside the label."""
    sums, begin = [], 1
    for label in labels:
        total = logprobs[:, 0, label[0]]
        for offset, token in enumerate(label[1:]):
            total = total + logprobs[:, begin + offset, token]
        sums.append(total)
        begin += len(label) - 1
    return sums
