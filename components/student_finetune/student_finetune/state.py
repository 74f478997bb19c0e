"""What a checkpoint holds of weights, optimizer, schedule and random numbers: one file a process.

Weights that are not trained are not in it.  Processes with a copy each let the main one write; those with a share of
a sharded model write their own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from student_finetune import ranks
from student_finetune.sharding import is_sharded, like, local, reshard


def save_state(folder: Path, model: Any, optimizer: Any, schedule: Any) -> None:
    state: dict[str, Any] = {"random": _random_state()}
    if ranks.is_main() or is_sharded(model):
        state["weights"] = dict(trained(model))
        state["optimizer"] = _mapped(optimizer.state_dict(), local)
        state["schedule"] = schedule.state_dict()
    torch.save(state, _file(folder, ranks.rank()))


def load_weights(folder: Path, model: Any) -> None:
    saved = _shared(folder)["weights"]
    with torch.no_grad():
        for name, value in trained(model):
            value.copy_(saved[name])


def load_optimizer(folder: Path, optimizer: Any, schedule: Any) -> None:
    state = _shared(folder)
    optimizer.load_state_dict(state["optimizer"])
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            own = optimizer.state.get(parameter, {})
            own.update({name: like(value, parameter) for name, value in own.items()})
    schedule.load_state_dict(state["schedule"])


def load_random(folder: Path) -> None:
    state = _read(folder, ranks.rank())["random"]
    random.setstate(state["python"])
    np.random.set_state((*state["numpy"][:1], state["numpy"][1].numpy(), *state["numpy"][2:]))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])


def trained(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """What this process holds of each weight that is trained."""
    bare = getattr(model, "module", model)
    reshard(bare)
    for name, parameter in bare.named_parameters():
        if parameter.requires_grad:
            yield name, local(parameter.detach())


def _random_state() -> dict[str, Any]:
    kind, keys, *rest = np.random.get_state(legacy=True)
    state: dict[str, Any] = {"python": random.getstate(), "numpy": (kind, torch.from_numpy(np.array(keys)), *rest)}
    state["torch"] = torch.get_rng_state()
    return state | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def _file(folder: Path, rank: int) -> Path:
    return folder / f"state-{rank}.pt"


def _read(folder: Path, rank: int) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(_file(folder, rank), map_location="cpu", weights_only=True)
    return state


def _shared(folder: Path) -> dict[str, Any]:
    own = _read(folder, ranks.rank())
    return own if "weights" in own else _read(folder, 0)


def _mapped(value: Any, change: Any) -> Any:
    """`value` with every tensor in it changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    return [_mapped(item, change) for item in value] if isinstance(value, list) else value
