"""Whether the rows of a batch are fed as one sequence.

That spares the padding, and lets a batch be as many short rows as one of long rows has tokens.  It is right only where
attention keeps the rows apart, and fast only where it skips what lies between them, as FlashAttention does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from student_finetune.collate import together
from student_finetune.data import Example
from student_finetune.reading import hidden_states
from student_finetune.settings import Hyperparameters

FLASH = "flash_attention_2"


def is_packed(models: Sequence[Any], examples: Sequence[Example], chosen: Hyperparameters, half: bool) -> bool:
    """What the job says, else whether FlashAttention is at hand; in either case only where the rows stay apart.

    Prints why rows are not packed that the job wants packed.  Gives the models FlashAttention where there is a GPU and
    products are computed in `half` precision, the only one that it knows.
    """
    if chosen.packing is False or (chosen.packing is None and not torch.cuda.is_available()):
        return False
    reason, before = "", [model.config._attn_implementation for model in models]
    if any(len(ids) > 1 for example in examples for ids in example.candidates):
        reason = "their candidate answers have several tokens"
    elif not ((half and _use_flash(models)) or chosen.packing):
        return False
    elif not all(keeps_apart(model, half) for model in models):
        reason = "the model's attention does not keep them apart"
        _restore(models, before)
    if reason:
        print(f"rows are not packed: {reason}", flush=True)
    return not reason


def _use_flash(models: Sequence[Any]) -> bool:
    """Whether all models have FlashAttention now; from the package `flash_attn`, or by `kernels` from the hub."""
    before = [model.config._attn_implementation for model in models]
    try:
        for model in models:
            model.set_attn_implementation(FLASH)
    except Exception as error:  # not installed, no network, another GPU: it is but faster
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        print(f"without FlashAttention: {reason}", flush=True)
    if all(map(_is_flash, models)):  # some models refuse by a warning
        return True
    _restore(models, before)
    return False


def _restore(models: Sequence[Any], implementations: Sequence[str]) -> None:
    for model, implementation in zip(models, implementations, strict=True):
        if model.config._attn_implementation != implementation:
            model.set_attn_implementation(implementation)


def _is_flash(model: Any) -> bool:
    return "flash" in model.config._attn_implementation  # its name by `kernels` is that of a repository


@torch.no_grad()
def keeps_apart(model: Any, half: bool = False) -> bool:
    """Whether what stands in one packed row is of no account to the next.

    Asked of the model itself: there are attentions that ignore where rows begin, layers that are no attention, and
    attentions that this GPU cannot compute.
    """
    device, training, states = next(model.parameters()).device, model.training, []
    model.eval()  # or dropout would tell them apart
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=half and device.type == "cuda"):
            for first in ([1, 2, 3, 4], [5, 6, 7, 8]):
                batch = {name: value.to(device) for name, value in together([first, [9, 10, 11]]).items()}
                states.append(hidden_states(model, batch, torch.arange(4, 7, device=device)).float())
    except RuntimeError as error:
        print(f"without FlashAttention: {str(error).splitlines()[0]}", flush=True)
        return False
    finally:
        model.train(training)
    return torch.allclose(states[0], states[1], rtol=1e-3, atol=1e-5)


@contextmanager
def unpacked(model: Any) -> Iterator[None]:
    """Meanwhile the model takes masks of any kind, which FlashAttention does not."""
    before = model.config._attn_implementation
    if _is_flash(model):
        model.set_attn_implementation("sdpa")
    yield
    if model.config._attn_implementation != before:
        model.set_attn_implementation(before)
