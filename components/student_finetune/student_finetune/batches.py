"""Which rows make a batch: rows of like length together, so that little of a batch is padding.

An optimiser step takes `batch_size * accumulation` rows, however many processes share it: more processes make a step
faster and leave its gradient as it is.  The order is a function of seed and epoch alone, so a run that goes on from a
checkpoint sees the rows that it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
        if self.step < world:
            message = f"an optimiser step of {self.step} rows cannot be shared by {world} processes"
            hint = "raise batch_size or gradient_accumulation_steps"
            raise InvalidInput(Problem(message, field="hyperparameters.batch_size", hint=hint))
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
