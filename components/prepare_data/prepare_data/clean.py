"""Which rows are dropped, and why: too long, a repeat of another row, or a leak between training and test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from prepare_data.near import NearDuplicates
from prepare_data.table import Source, Table
from shared.progress import Progress

# rows of a source must not stand in these other sources, which come before it
LEAKS: dict[Source, tuple[Source, ...]] = {
    Source.TEST: (),
    Source.VALIDATION: (Source.TEST,),
    Source.GOLD: (Source.TEST,),
    Source.TRAINING: (Source.TEST, Source.VALIDATION),
}


class Fate(Enum):
    """Why a row is left out; the value is the report's name of the count."""

    OVERLONG = "overlong"
    LEAK = "leaks"
    CONFLICT = "conflicts"
    DUPLICATE = "duplicates"
    NEAR = "near_duplicates"
    BALANCED = "balanced"


@dataclass(frozen=True)
class Drop:
    """A row that is left out; `other` is the row that it repeats, with a similarity below 1 where not exactly."""

    row: int
    fate: Fate
    other: int | None = None
    similarity: float = 1.0


class Cleaning:
    """The state of the cleaning: `kept` [rows], `drops`, and `in_gold` [rows], training rows that are gold rows too."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.kept: NDArray[np.bool_] = np.ones(len(table), np.bool_)
        self.in_gold: NDArray[np.bool_] = np.zeros(len(table), np.bool_)
        self.drops: list[Drop] = []

    def drop(self, drop: Drop) -> None:
        self.kept[drop.row] = False
        self.drops.append(drop)


def clean(table: Table, near_duplicates: float | None) -> Cleaning:
    """Decide on every row of the table."""
    state = Cleaning(table)
    for row in range(len(table)):
        if table.overlong(row):
            state.drop(Drop(row, Fate.OVERLONG))
    _drop_exact(state)
    if near_duplicates is not None and state.kept.any():
        _drop_near(state, near_duplicates)
    return state


def _drop_exact(state: Cleaning) -> None:
    table, claims = state.table, _claims(state)
    for row in np.flatnonzero(state.kept).tolist():
        source, key = Source(table.sources[row]), table.keys[row]
        leaked = next((claims[other][key] for other in LEAKS[source] if key in claims[other]), None)
        claim = claims[source][key]
        if leaked is not None:
            state.drop(Drop(row, Fate.LEAK, leaked))
        elif claim != row:
            same = table.answers[row] in (0, table.answers[claim])
            state.drop(Drop(row, Fate.DUPLICATE if same else Fate.CONFLICT, claim))
        elif source is Source.TRAINING and key in claims[Source.GOLD]:
            state.in_gold[row] = True


def _claims(state: Cleaning) -> dict[Source, dict[int, int]]:
    """{source: {prompt: the row that stands for it}}: the first one that has an answer, else the first one."""
    table = state.table
    claims: dict[Source, dict[int, int]] = {source: {} for source in Source}
    for row in np.flatnonzero(state.kept).tolist():
        claim = claims[Source(table.sources[row])].setdefault(table.keys[row], row)
        if table.answers[row] and not table.answers[claim]:
            claims[Source(table.sources[row])][table.keys[row]] = row
    return claims


def _drop_near(state: Cleaning, threshold: float) -> None:
    pairs = NearDuplicates(state.table.shingles, threshold)
    with Progress(len(state.table), "rows compared") as progress:
        for row, matches in pairs.repeats(state.kept):
            progress.advance(row - progress.done)
            for drop in _repeats(state, row, matches):
                state.drop(drop)
        progress.advance(len(state.table) - progress.done)


def _repeats(state: Cleaning, row: int, matches: Iterator[tuple[int, float]]) -> Iterator[Drop]:
    """The drop of a row, if its matches call for one; a leak is found first, as the table begins with the test rows."""
    source = Source(state.table.sources[row])
    for other, similarity in matches:
        stands_in = Source(state.table.sources[other])
        if stands_in in LEAKS[source] or stands_in is source:
            yield Drop(row, Fate.NEAR if stands_in is source else Fate.LEAK, other, similarity)
            return
        if stands_in is Source.GOLD:
            state.in_gold[row] = True
