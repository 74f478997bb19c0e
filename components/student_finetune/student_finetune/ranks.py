"""The processes that train together: one alone, or all that Azure ML's `pytorch` distribution or torchrun starts.

Each learns from the environment which one it is (RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT).  Process 0
alone writes files and prints.  The functions here do nothing in a process alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")

PATIENCE = timedelta(hours=2)
"""How long a process waits for the others: one may be converting or downloading weights that all need."""


def rank() -> int:
    return int(os.environ.get("RANK", 0))


def world() -> int:
    return int(os.environ.get("WORLD_SIZE", 1))


def local_world() -> int:
    """How many of the processes are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world()))


def is_main() -> bool:
    return rank() == 0


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Meet the other processes, take a GPU of its own where there are any, and part at the end."""
    if world() == 1:
        yield
        return
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank())))
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=PATIENCE)
    with contextlib.ExitStack() as stack:
        stack.callback(dist.destroy_process_group)
        if not is_main():
            silence = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(silence))
        yield
        wait()  # one that left early would look like one that crashed


def total(values: Sequence[float]) -> list[float]:
    """The sum of each value over all processes."""
    if world() == 1:
        return list(values)
    summed = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(summed)
    found: list[float] = summed.tolist()
    return found


def any_of(flag: bool) -> bool:
    """Whether it is true in one process at least."""
    return total([float(flag)])[0] > 0


def from_main(value: T) -> T:
    """What process 0 has."""
    if world() == 1:
        return value
    holder = [value]
    dist.broadcast_object_list(holder)
    return holder[0]


def wait() -> None:
    """Until all processes are here."""
    total([0.0])
