"""What the student says about a batch, with logits only where they are needed and never all of them at once.

In a small model with a large vocabulary the output layer is most of the work, and [tokens, vocabulary] the largest
tensor.  So the layers run once over the batch, the hidden states are thinned out to the positions that are trained,
and the output layer is computed a piece of the positions at a time, again in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers.modeling_outputs import MoeModelOutputWithPast

from student_finetune.losses import token_logprobs

FORWARD = ("input_ids", "attention_mask", "position_ids")
PIECE = {"cpu": 2**23, "cuda": 2**26}
"""Logits held at a time.  On a CPU 32 MiB, 170 positions of SmolLM2, are as fast as all at once; a GPU wants more."""

Batch = Mapping[str, torch.Tensor]
Probe = Callable[[torch.Tensor, torch.Tensor, slice], torch.Tensor]
"""Something that takes all logits of a position: ([positions, vocabulary], the hidden states [positions, size] that
they are of, which positions) -> [positions of them]."""


@dataclass(frozen=True)
class Reading:
    """`logprobs` [asked] of the tokens that the batch asks for; `probed` [positions] by the name of its probe."""

    logprobs: torch.Tensor
    probed: Mapping[str, torch.Tensor]


def read(model: Any, batch: Batch, probes: Mapping[str, Probe] | None = None, piece: int = 0) -> Reading:
    """Read `model`'s answers to a batch (see `collate`), at most `piece` logits at a time (see `PIECE`)."""
    probes = probes or {}
    hidden = hidden_states(model, batch, batch["kept"])
    output_layer = OutputLayer(model)

    def part(states: torch.Tensor, where: slice, at: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits = output_layer(states).float()
        return (token_logprobs(logits, at, tokens), *(probe(logits, states, where) for probe in probes.values()))

    found = []
    size = piece_of(hidden.device, output_layer.width, piece)
    for start in range(0, len(hidden), size):
        where = slice(start, min(start + size, len(hidden)))
        first, last = torch.searchsorted(batch["asked_at"], torch.tensor([where.start, where.stop]).to(hidden.device))
        arguments = hidden[where], where, batch["asked_at"][first:last] - start, batch["asked_tokens"][first:last]
        again = len(hidden) > size and torch.is_grad_enabled()
        found.append(
            checkpoint(part, *arguments, use_reentrant=False, preserve_rng_state=False) if again else part(*arguments)
        )
    logprobs, *probed = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Reading(logprobs, dict(zip(probes, probed, strict=True)))


def piece_of(device: torch.device, vocabulary: int, logits: int = 0) -> int:
    """How many positions make a piece."""
    return max(1, (logits or PIECE.get(device.type, PIECE["cpu"])) // vocabulary)


def hidden_states(model: Any, inputs: Batch, kept: torch.Tensor) -> torch.Tensor:
    """What the output layer is given at the flat positions `kept`: [positions, hidden size]."""
    found: list[torch.Tensor] = []

    def thin_out(decoder: torch.nn.Module, arguments: Any, output: Any) -> Any:
        states = output.last_hidden_state
        found.append(states.reshape(-1, states.shape[-1])[kept])
        return type(output)(last_hidden_state=states[:, :0])  # nothing is left for the output layer to do

    hook = bare(model).get_decoder().register_forward_hook(thin_out)
    try:
        model(**{name: inputs[name] for name in FORWARD if name in inputs}, use_cache=False)
    finally:
        hook.remove()
    return found[0]


class OutputLayer:
    """Logits of hidden states.

    The model is run with layers that give these states, so that whatever an architecture does to its logits afterwards
    (scaling, soft caps) is done here too.
    """

    def __init__(self, model: Any) -> None:
        self.model = bare(model)
        weight = self.model.get_output_embeddings().weight
        self.width, self.dtype = int(weight.shape[0]), weight.dtype

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """[positions, hidden size] -> [positions, vocabulary]."""
        nothing = torch.zeros((1, len(states)), dtype=torch.long, device=states.device)
        given = MoeModelOutputWithPast(last_hidden_state=states[None])
        with in_place_of(self.model.get_decoder(), lambda *_, **__: given):
            logits: torch.Tensor = self.model(input_ids=nothing, use_cache=False).logits
        return logits[0]


@contextmanager
def in_place_of(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """Meanwhile `module` does `forward` instead of its own."""
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if before is not None:
            module.forward = before


def bare(model: Any) -> Any:
    """The model inside what distributes it (DistributedDataParallel and its like keep it as `module`)."""
    return bare(model.module) if hasattr(model, "module") else model
