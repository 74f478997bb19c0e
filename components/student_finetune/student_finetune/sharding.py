"""A model cut up among the processes (FSDP2): each holds its share of every weight, gradient and optimizer state.

By torch's own `fully_shard`, which does the same with gloo on CPUs as with NCCL on GPUs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from student_finetune import ranks
from student_finetune.settings import Hyperparameters

ROOM = 0.6
"""Share of a GPU's memory that weights, gradients and optimizer may take; activations need the rest."""
OPTIMIZER = 12
"""Bytes beside each trained weight: gradient and AdamW's two moments, in float32."""


def is_worthwhile(model: Any, chosen: Hyperparameters) -> bool:
    """What the job says, else whether a copy of everything is too much for one GPU."""
    if ranks.world() == 1 or chosen.sharding == "none" or chosen.quantization:
        return False
    if chosen.sharding == "full":
        return True
    if not torch.cuda.is_available():
        return False
    held = sum(p.numel() * (p.element_size() + OPTIMIZER * p.requires_grad) for p in model.parameters())
    return bool(held > ROOM * torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)


def shard(model: Any, half: bool) -> None:
    """Cut `model` up in place, a layer at a time; with `half`, layers are computed in bfloat16."""
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if half else MixedPrecisionPolicy()
    for layer in model.get_decoder().layers:
        fully_shard(layer, mp_policy=policy)
    fully_shard(model, mp_policy=policy)


def reshard(model: Any) -> None:
    """Have every weight of the model be the share again; after a forward pass some are still whole."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def is_sharded(model: Any) -> bool:
    return isinstance(model, FSDPModule)


def gather(model: Any) -> None:
    """Put the whole weights back on the main process, on the CPU, to be saved and no longer run.

    The others are left with none.
    """
    reshard(model)
    whole: dict[torch.Tensor, torch.nn.Parameter] = {}
    parameters: list[tuple[str, Any]] = list(model.named_parameters(remove_duplicate=False))
    for name, parameter in parameters:  # tied weights stay tied
        if isinstance(parameter, DTensor):
            if parameter not in whole:
                value = parameter.full_tensor().detach().clone()
                kept = value.cpu() if ranks.is_main() else value[:0]
                whole[parameter] = torch.nn.Parameter(kept, parameter.requires_grad)
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, whole[parameter])
    module: Any
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.__class__ = type(module).__bases__[1]  # `fully_shard` made a subclass of the module's own
            hooks: Any = module._state_dict_pre_hooks  # type: ignore[attr-defined]
            hooks.clear()  # which would bring back the shares


def like(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """`value`, this process' share of something that belongs to a weight, cut up as the weight is."""
    if not isinstance(parameter, DTensor) or value.shape != parameter.to_local().shape:
        return value
    mesh, placements = parameter.device_mesh, parameter.placements
    return DTensor.from_local(value, mesh, placements, shape=parameter.shape, stride=parameter.stride())


def local(value: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor."""
    return value.to_local() if isinstance(value, DTensor) else value
