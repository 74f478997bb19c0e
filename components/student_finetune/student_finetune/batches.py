"""Which rows make a batch: rows of like length together, so that little of a batch is padding; or packed ones.

An optimiser step takes `batch_size * accumulation` rows, however many processes share it: more processes make a step
faster and leave its gradient as it is.  The order is a function of seed and epoch alone, so a run that goes on from a
checkpoint sees the rows that it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from torch.utils.data import Sampler

from shared.errors import InvalidInput, Problem

WINDOW = 50  # steps whose rows are sorted together; more leaves less padding, and less chance to the order


class StepBatches(Sampler[list[int]]):
    """One process' batches of each epoch, as row numbers; empty where a short last step has no row for it."""

    def __init__(
        self, lengths: Sequence[int], batch_size: int, accumulation: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        self.lengths, self.batch_size = np.asarray(lengths), batch_size
        self.step, self.seed, self.rank, self.world = batch_size * accumulation, seed, rank, world
        _check_shared(self.step, world)
        self.passes = self._passes(self.step)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    @property
    def steps(self) -> int:
        """Optimiser steps of an epoch."""
        return -(-len(self.lengths) // self.step)

    def __len__(self) -> int:
        full, rest = divmod(len(self.lengths), self.step)
        return full * self.passes + (self._passes(rest) if rest else 0)

    def __iter__(self) -> Iterator[list[int]]:
        for rows in self._steps():
            chunks = np.array_split(rows, self._passes(len(rows)) * self.world)
            yield from (chunk.tolist() for chunk in chunks[self.rank :: self.world])

    def _passes(self, rows: int) -> int:
        """Batches that each process feeds in a step of so many rows."""
        return -(-rows // (self.batch_size * self.world))

    def _steps(self) -> list[np.ndarray]:
        """The rows of each step, the longest first; a step that is short of rows comes last."""
        draw = np.random.default_rng((self.seed, self.epoch))
        order = draw.permutation(len(self.lengths))
        full = len(order) // self.step
        windows = np.array_split(order[: full * self.step].reshape(full, self.step), max(1, -(-full // WINDOW)))
        steps = [rows for window in windows for rows in self._sorted(window.ravel()).reshape(-1, self.step)]
        steps = [steps[number] for number in draw.permutation(full)]
        if self.epoch == 0 and steps:  # what does not fit in memory fails at once
            longest = max(range(full), key=lambda number: int(self.lengths[steps[number]].max()))
            steps[0], steps[longest] = steps[longest], steps[0]
        rest = order[full * self.step :]
        return steps + ([self._sorted(rest)] if len(rest) else [])

    def _sorted(self, rows: np.ndarray) -> np.ndarray:
        order: np.ndarray = rows[np.argsort(-self.lengths[rows], kind="stable")]
        return order


class PackedBatches(Sampler[list[int]]):
    """One process' batches of each epoch where rows are packed: each has the tokens of `batch_size` long rows at most.

    Rows are cut into as many strata of like length as a step has rows.  A step takes one row of each, so all steps have
    about as many tokens, and which strata share a batch is settled once, by the longest row of each.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, accumulation: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        _check_shared(batch_size * accumulation, world)
        self.seed, self.rank, self.world = seed, rank, world
        step = min(batch_size * accumulation, len(lengths))
        order = np.argsort(-np.asarray(lengths), kind="stable")
        bounds = np.linspace(0, len(order), step + 1).round().astype(int)
        self.strata = [order[start:end] for start, end in pairwise(bounds)]
        self.steps = max(map(len, self.strata))
        longest = [int(lengths[stratum[0]]) for stratum in self.strata]
        self.batches = _binned(longest, batch_size * longest[0], world)
        self.passes = len(self.batches) // world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps * self.passes

    def __iter__(self) -> Iterator[list[int]]:
        draw = np.random.default_rng((self.seed, self.epoch))
        drawn = [draw.permutation(stratum).tolist() for stratum in self.strata]
        for step in range(self.steps):
            for strata in self.batches[self.rank :: self.world]:
                yield [drawn[stratum][step] for stratum in strata if step < len(drawn[stratum])]


def _binned(sizes: Sequence[int], room: int, world: int) -> list[list[int]]:
    """The numbers of `sizes`, largest first, in the fewest bins of `room` that are a multiple of `world`.

    Each goes into the bin that is emptiest (longest processing time first; Graham 1969).
    """
    for count in range(world, world * len(sizes) + 1, world):
        filled, bins = [0] * count, [list[int]() for _ in range(count)]
        for number, size in enumerate(sizes):
            least = filled.index(min(filled))
            filled[least] += size
            bins[least].append(number)
        if max(filled) <= room:
            break
    return bins


def _check_shared(step: int, world: int) -> None:
    if step < world:
        message = f"an optimiser step of {step} rows cannot be shared by {world} processes"
        hint = "raise batch_size or gradient_accumulation_steps"
        raise InvalidInput(Problem(message, field="hyperparameters.batch_size", hint=hint))
