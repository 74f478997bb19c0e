"""What all prompts of a task begin with (template, instruction, solved examples) is read by the model once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SHORTEST = 8  # tokens for which the detour pays


def common_beginning(prompts: Sequence[Sequence[int]]) -> list[int]:
    """The longest beginning that all prompts share and that leaves each at least one token.

    [] when it is short, or when there is one prompt only, which gains nothing.
    """
    if len(prompts) < 2:
        return []
    first, last = min(map(list, prompts)), max(map(list, prompts))  # in dictionary order: all others lie between
    shared = [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))]
    length = min(len(shared), *(len(ids) - 1 for ids in prompts))
    return shared[:length] if length >= SHORTEST else []


def remembers_all(cache: Any) -> bool:
    """Whether a model's cache is the keys and values of all tokens and nothing else."""
    layers = getattr(cache, "layers", ())
    return bool(layers) and all(type(layer) is DynamicLayer and layer.keys is not None for layer in layers)


def forgets_rows(cache: Any) -> bool:
    """Whether rows can be taken out of a model's cache."""
    layers = getattr(cache, "layers", ())
    return bool(layers) and all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


class Continued:
    """A model that has read a beginning; called like the model, with what follows the beginning.

    Equal to the model on beginning + rest, as far as floating point goes.
    """

    def __init__(self, model: PreTrainedModel, layers: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """`layers` are the keys and values of the beginning, [1, heads, length, size] each."""
        self.model, self.layers = model, layers
        self.length = layers[0][0].shape[2]
        self.config = model.config

    @staticmethod
    def of(model: PreTrainedModel, beginning: Sequence[int]) -> Continued | None:
        """None for models whose state after a beginning is more (or less) than all keys and values of it."""
        if not beginning:
            return None
        ids = torch.tensor([list(beginning)], device=model.device)
        cache = model(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values
        layers = model.config.get_text_config(decoder=True).num_hidden_layers
        if not remembers_all(cache) or len(cache.layers) != layers:
            return None
        return Continued(model, [(layer.keys, layer.values) for layer in cache.layers])

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        return self.model.parameters()

    def __call__(
        self, *, input_ids: torch.Tensor, attention_mask: torch.Tensor, position_ids: torch.Tensor, **rest: Any
    ) -> Any:
        """`attention_mask` is [rows, width] of ones and zeros, or additive and [rows, 1, width, width]."""
        seen = 1 if attention_mask.dim() == 2 else 0
        shape = (*attention_mask.shape[:-1], self.length)
        mask = torch.cat([attention_mask.new_full(shape, seen), attention_mask], dim=-1)
        positions = position_ids + self.length
        cache = self.cache(len(input_ids))
        return self.model(
            input_ids=input_ids, attention_mask=mask, position_ids=positions, past_key_values=cache, **rest
        )

    def cache(self, rows: int) -> DynamicCache:
        """The state after the beginning, for `rows` rows."""
        made = DynamicCache()
        for index, (keys, values) in enumerate(self.layers):
            made.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), index)
        return made
