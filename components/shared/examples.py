"""The solved rows that a teacher is shown before each question."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import chain, islice, zip_longest
from pathlib import Path

from shared.errors import InvalidInput, Problem
from shared.rows import Row, read_split


def read_examples(gold: Path | None, few_shot: int) -> list[Row]:
    """`few_shot` + 1 gold rows (one may turn out to be the row asked), spread evenly over the references' values.

    The choice depends on the rows alone, not on their order.
    """
    if not few_shot:
        return []
    rows = [row for row in read_split(gold, "train") if row.reference is not None] if gold else []
    if not rows:
        raise InvalidInput(Problem("needs gold rows to show, and there are none", field="sampling.few_shot"))
    rows.sort(key=lambda row: hashlib.sha256(row.id.encode()).digest())
    return balanced(rows)[: few_shot + 1]


def shown(examples: Sequence[Row], row: Row, few_shot: int) -> list[Row]:
    """The first `few_shot` examples that are not the row itself."""
    others = (example for example in examples if example.id != row.id and example.prompt != row.prompt)
    return list(islice(others, few_shot))


def balanced(rows: Sequence[Row]) -> list[Row]:
    """All rows, taking one of each reference in turn."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.reference or "", []).append(row)
    turns = zip_longest(*(groups[name] for name in sorted(groups)))
    return [row for row in chain.from_iterable(turns) if row is not None]
