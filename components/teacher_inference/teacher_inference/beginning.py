"""What all prompts of a task begin with (the instruction, the solved examples) is read by the model once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SHORTEST = 8  # tokens for which the detour pays


def common_beginning(prompts: Sequence[Sequence[int]]) -> list[int]:
    """The longest beginning that all prompts share and that leaves each at least one token; [] when it is short."""
    first, last = min(map(list, prompts)), max(map(list, prompts))  # in dictionary order: all others lie between
    shared = [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))]
    length = min(len(shared), *(len(ids) - 1 for ids in prompts))
    return shared[:length] if length >= SHORTEST else []


class Continued:
    """A model that has read a beginning; called like the model, with what follows the beginning.

    Equal to the model on beginning + rest, as far as floating point goes.
    """

    def __init__(self, model: PreTrainedModel, layers: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """`layers` are the keys and values of the beginning, [1, heads, length, size] each."""
        self.model, self.layers = model, layers
        self.length = layers[0][0].shape[2]

    @staticmethod
    def of(model: PreTrainedModel, beginning: Sequence[int]) -> Continued | None:
        """None for models whose state after a beginning is more (or less) than all keys and values of it."""
        if not beginning:
            return None
        ids = torch.tensor([list(beginning)], device=model.device)
        cache = model(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values
        kept = [layer for layer in getattr(cache, "layers", ()) if type(layer) is DynamicLayer]
        states = [(layer.keys, layer.values) for layer in kept if layer.keys is not None and layer.values is not None]
        whole = states and len(states) == len(cache.layers) == model.config.num_hidden_layers
        return Continued(model, states) if whole else None

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        return self.model.parameters()

    def __call__(
        self, *, input_ids: torch.Tensor, attention_mask: torch.Tensor, position_ids: torch.Tensor, **rest: Any
    ) -> Any:
        """`attention_mask` is [rows, width] of ones and zeros, or additive and [rows, 1, width, width]."""
        cache = DynamicCache()
        for index, (keys, values) in enumerate(self.layers):
            cache.update(keys.expand(len(input_ids), -1, -1, -1), values.expand(len(input_ids), -1, -1, -1), index)
        seen = 1 if attention_mask.dim() == 2 else 0
        shape = (*attention_mask.shape[:-1], self.length)
        mask = torch.cat([attention_mask.new_full(shape, seen), attention_mask], dim=-1)
        positions = position_ids + self.length
        return self.model(
            input_ids=input_ids, attention_mask=mask, position_ids=positions, past_key_values=cache, **rest
        )
