"""Logits where they are needed only: in a small model with a large vocabulary the output layer is most of the work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

FORWARD = ("input_ids", "attention_mask", "position_ids")


def selected_logits(model: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Logits [positions, vocabulary] at the flat positions `batch["kept"]`.

    The hidden states are thinned out in front of the output layer and not by calling the layers one by one, so that
    whatever an architecture does to its logits afterwards (scaling, soft caps) is done here too.
    """
    kept = batch["kept"]

    def thin_out(layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden = inputs[0]
        return (hidden.reshape(-1, hidden.shape[-1])[kept][None], *inputs[1:])

    hook = getattr(model, "module", model).get_output_embeddings().register_forward_pre_hook(thin_out)
    try:
        inputs = {name: batch[name] for name in FORWARD if name in batch}
        logits: torch.Tensor = model(**inputs, use_cache=False).logits
    finally:
        hook.remove()
    return logits[0]
