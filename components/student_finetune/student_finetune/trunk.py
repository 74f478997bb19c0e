"""A student's first layers, where they are not trained: what they give for a row is the same in every epoch.

So they run in the first epoch only, and what they gave is kept for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from student_finetune import ranks
from student_finetune.data import Example
from student_finetune.reading import Batch, bare, in_place_of
from student_finetune.room import room


class Trunk:
    """`layers`, the first of a model, and their hidden states [tokens, hidden size] of each row they have read."""

    def __init__(self, layers: Sequence[torch.nn.Module]) -> None:
        self.layers = layers
        self.kept: dict[int, torch.Tensor] = {}

    @staticmethod
    def of(model: Any, examples: Sequence[Example], epochs: int) -> Trunk | None:
        """None where nothing would be gained, or the hidden states of all rows would take too much memory."""
        decoder = bare(model).get_decoder()
        layers = list[torch.nn.Module]()
        for layer in decoder.layers:
            if not _is_constant(layer):
                break
            layers.append(layer)
        constant = bool(layers) and _is_constant(bare(model).get_input_embeddings())
        if not constant or epochs < 2 or ranks.world() > 1 or bare(model).is_activation_checkpointing:
            return None
        tokens = sum(len(example) + sum(map(len, example.candidates)) for example in examples)
        size = int(model.config.get_text_config(decoder=True).hidden_size)
        return Trunk(layers) if 4 * size * tokens <= room() else None

    @contextmanager
    def reads(self, batch: Batch) -> Iterator[None]:
        """Within it the model reads `batch`; its first layers have nothing to do where all rows of it are known."""
        numbers, lengths = batch["rows"].tolist(), batch["lengths"].tolist()
        known = all(number in self.kept for number in numbers)
        with ExitStack() as stack:
            if known:
                states = pad_sequence([self.kept[number] for number in numbers], batch_first=True)
                give = _giving(states.to(batch["input_ids"].device))
                for layer in self.layers:
                    stack.enter_context(in_place_of(layer, give))
            else:
                hook = self.layers[-1].register_forward_hook(self._keeping(numbers, lengths))
                stack.callback(hook.remove)
            yield

    def _keeping(self, numbers: Sequence[int], lengths: Sequence[int]) -> Callable[[Any, Any, Any], None]:
        def keep(layer: torch.nn.Module, arguments: Any, states: Any) -> None:
            if isinstance(states, torch.Tensor) and states.dim() == 3:
                for number, length, row in zip(numbers, lengths, states.detach(), strict=True):
                    self.kept[number] = row[:length].to("cpu", copy=True)

        return keep


def _giving(states: torch.Tensor) -> Callable[..., torch.Tensor]:
    return lambda *_, **__: states


def _is_constant(module: torch.nn.Module) -> bool:
    """Whether it gives the same for the same, step after step: nothing in it is trained or left to chance."""
    chance = [
        value
        for part in module.modules()
        for name, value in vars(part).items()
        if isinstance(value, float) and ("drop" in name or "jitter" in name or isinstance(part, torch.nn.Dropout))
    ]
    return not any(chance) and not any(parameter.requires_grad for parameter in module.parameters())
