"""Which rows are trained on, validated on and tested on: reproducible, stratified, whatever the order of the input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prepare_data.clean import Cleaning, Drop, Fate
from prepare_data.settings import Settings
from prepare_data.table import Source, Table
from shared.errors import InvalidInput, Problem

TRAIN, VALIDATION, TEST, GOLD, NOWHERE = "train", "validation", "test", "gold", ""
HOME = {Source.TEST: TEST, Source.VALIDATION: VALIDATION, Source.GOLD: GOLD, Source.TRAINING: TRAIN}

Ints = NDArray[np.int64]


def split(state: Cleaning, given: frozenset[Source], settings: Settings) -> list[str]:
    """The split of each row, `NOWHERE` for dropped ones; balances the training rows where asked to.

    Raises InvalidInput when there are too few training rows to split.
    """
    table = state.table
    splits = [HOME[Source(source)] if kept else NOWHERE for source, kept in zip(table.sources, state.kept, strict=True)]
    if Source.TRAINING not in given:
        return splits
    training = np.flatnonzero(state.kept & (np.array(table.sources) == Source.TRAINING))
    order = shuffled(table, training, settings.seed)
    shares = {
        TEST: 0.0 if Source.TEST in given else settings.test_split,
        VALIDATION: 0.0 if Source.VALIDATION in given else settings.validation_split,
    }
    labels = table.label_ranks()
    for name, rows in split_off(order, ~state.in_gold[order], labels[order], shares).items():
        for row in rows.tolist():
            splits[row] = name
    if settings.balance:
        for row in surplus(order[[splits[row] == TRAIN for row in order.tolist()]], labels).tolist():
            state.drop(Drop(row, Fate.BALANCED))
            splits[row] = NOWHERE
    return splits


def shuffled(table: Table, rows: Ints, seed: int) -> Ints:
    """`rows` in an order that depends on their prompts and the seed only."""
    keys = np.array(table.keys, np.uint64)[rows]
    return rows[np.lexsort((keys, scramble(keys ^ scramble(np.array([seed], np.uint64)))))]


def scramble(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A one-to-one random-looking map of 64-bit numbers: the finaliser of SplitMix64 (Steele et al., OOPSLA 2014)."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def split_off(order: Ints, movable: NDArray[np.bool_], labels: Ints, shares: dict[str, float]) -> dict[str, Ints]:
    """{split: its rows}, for each share above 0, of the shuffled rows `order`.

    A split takes at least one row.  Sorted by label and taken at even distances, each label gives its share to within
    one row.  Rows that are not `movable` stay in the training rows, since the teacher learns from them.
    """
    counts = {name: max(1, round(share * len(order))) for name, share in shares.items() if share}
    if len(order) and (sum(counts.values()) > movable.sum() or sum(counts.values()) >= len(order)):
        names = " and ".join(counts)
        hint = f"give more rows, or files for {names}, or set the split to 0"
        gold = "" if movable.all() else f" ({len(order) - int(movable.sum())} of them gold rows)"
        raise InvalidInput(Problem(f"too few training rows to split off {names}: {len(order)}{gold}", hint=hint))
    pool = order[movable][np.argsort(labels[movable], kind="stable")]
    parts = {}
    for name, count in counts.items():
        taken = ((2 * np.arange(count) + 1) * len(pool)) // (2 * count)
        parts[name] = pool[taken]
        pool = np.delete(pool, taken)
    return parts


def surplus(order: Ints, labels: Ints) -> Ints:
    """Rows to leave out so that each label has as many as the rarest; rows without a label stay."""
    by_label = [order[labels[order] == label] for label in np.unique(labels[order]) if label >= 0]
    rarest = min(map(len, by_label), default=0)
    return np.concatenate([np.empty(0, np.int64), *(rows[rarest:] for rows in by_label)])
