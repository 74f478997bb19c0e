"""Finds all pairs of rows whose shingle sets are similar: exactly, not with a probability.

Two sets with Jaccard similarity J >= t share so much that, when every set is sorted by one common order, they already
share one of the first |x| - ceil(t |x|) + 1 elements of each ("prefix filtering": Chaudhuri et al., ICDE 2006; Bayardo
et al., WWW 2007).  The common order is by rarity, so that few rows meet in a prefix.  The positions of the shared
elements bound the overlap further ("positional filtering": Xiao et al., WWW 2008).  What is left is verified.

Shingles found in many rows are boilerplate: an instruction repeated in every row.  Rows are near duplicates only when
they are similar with *and* without boilerplate, so that a long instruction neither makes short texts alike, nor do
equal texts count as repeats below different instructions.

"Exactly" holds for the hashed shingles.  That two of one pair of rows with 100 shingles each share their 32 bits has a
chance of 2 in a million, and would change the similarity by about 0.005.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from prepare_data.shingles import Shingles

BUCKETS = 2**22  # shingles are counted by their last bits: where two share a bucket, both look a little commoner
BOILERPLATE_ROWS, BOILERPLATE_SHARE = 100, 0.01
ROUNDING = 1e-9

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Postings:
    """Prefix elements in the order of rows.  Those of one element stand together in `members` and `places`.

    Posting k belongs to row `rows[k]`, is element number `offsets[k]` of its sorted set, and the earlier rows with
    the same element are `members[first[k]:own[k]]`, where it has the place `places[first[k]:own[k]]`.
    """

    rows: Ints
    offsets: Ints
    first: Ints
    own: Ints
    members: Ints
    places: Ints


class NearDuplicates:
    """The similarity join of the rows' shingle sets."""

    def __init__(self, sets: Shingles, threshold: float) -> None:
        self.values, self.bounds, self.threshold = sets.values, sets.bounds, threshold
        self.counts = np.zeros(BUCKETS, np.int32)
        for start in range(0, len(self.values), 2**20):
            buckets = self.values[start : start + 2**20] & np.uint32(BUCKETS - 1)
            np.add.at(self.counts, buckets.astype(np.intp), np.int32(1))  # these types take numpy's fast path
        self.limit = max(BOILERPLATE_ROWS, int(BOILERPLATE_SHARE * len(sets)))
        self.sizes = np.zeros(len(sets), np.int64)  # without boilerplate
        self.postings = self._post()

    def repeats(self, kept: NDArray[np.bool_]) -> Iterator[tuple[int, Iterator[tuple[int, float]]]]:
        """(row, its matches) for each kept row that may have any, in order; matches are (earlier kept row, similarity).

        Matches are verified only as they are asked for.  The caller may clear `kept[row]` between two rows: a row that
        was dropped is nobody's match any more.
        """
        posts = self.postings
        active = np.flatnonzero(posts.own > posts.first)
        begins = np.flatnonzero(np.diff(posts.rows[active], prepend=-1))
        ends = np.flatnonzero(np.diff(posts.rows[active], append=-1)) + 1
        for begin, end in zip(begins, ends, strict=True):
            row = int(posts.rows[active[begin]])
            if kept[row]:
                candidates = self._candidates(row, active[begin:end], kept)
                yield row, self._verified(row, candidates)

    def similarity(self, one: int, other: int) -> float:
        """The smaller of the two Jaccard similarities: of all shingles, and of those that are not boilerplate."""
        a, b = self._set(one), self._set(other)
        common = np.intersect1d(a, b, assume_unique=True)
        rare = int(np.count_nonzero(self._counts(common) <= self.limit))
        rare_union = int(self.sizes[one] + self.sizes[other]) - rare
        if not rare_union:
            return 0.0
        return min(len(common) / (len(a) + len(b) - len(common)), rare / rare_union)

    def _set(self, row: int) -> NDArray[np.uint32]:
        return self.values[self.bounds[row] : self.bounds[row + 1]]

    def _counts(self, values: NDArray[np.uint32]) -> NDArray[np.int32]:
        counts: NDArray[np.int32] = self.counts[values & np.uint32(BUCKETS - 1)]
        return counts

    def _post(self) -> Postings:
        """Sort the elements of each prefix into groups of rows that share one."""
        prefixes = [self._prefix(row) for row in range(len(self.sizes))]
        lengths = np.array([len(prefix) for prefix in prefixes], np.int64)
        elements = np.concatenate([np.empty(0, np.uint32), *prefixes])
        rows = np.repeat(np.arange(len(lengths)), lengths)
        offsets = np.arange(len(elements)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        order = np.argsort(elements, kind="stable")
        grouped = elements[order]
        opens = np.diff(grouped, prepend=grouped[:1] + np.uint32(1)) != 0
        first = np.maximum.accumulate(np.where(opens, np.arange(len(order)), 0))
        own = np.empty_like(order)
        own[order] = np.arange(len(order))
        return Postings(rows, offsets, first[own], own, rows[order], offsets[order])

    def _prefix(self, row: int) -> NDArray[np.uint32]:
        values = self._set(row)
        counts = self._counts(values)
        rare = counts <= self.limit
        ranked = (counts[rare].astype(np.uint64) << np.uint64(32)) | values[rare]
        size = self.sizes[row] = len(ranked)
        length = size - ceil(self.threshold * size - ROUNDING) + 1 if size else 0
        ranked.sort()
        return ranked[:length].astype(np.uint32)

    def _candidates(self, row: int, postings: Ints, kept: NDArray[np.bool_]) -> Ints:
        """Earlier kept rows whose overlap with `row` can still be large enough."""
        posts = self.postings
        slices = [slice(posts.first[k], posts.own[k]) for k in postings]
        members = np.concatenate([posts.members[part] for part in slices])
        places = np.concatenate([posts.places[part] for part in slices])
        offsets = np.repeat(posts.offsets[postings], [part.stop - part.start for part in slices])
        size = self.sizes[row]
        fits = kept[members] & (self.sizes[members] * (1 + ROUNDING) >= self.threshold * size)
        fits &= self.sizes[members] * self.threshold <= size * (1 + ROUNDING)
        # elements were met in order, so the last of each row stands first in the reversed arrays
        members, places, offsets = members[fits][::-1], places[fits][::-1], offsets[fits][::-1]
        others, last, shared = np.unique(members, return_index=True, return_counts=True)
        rest = np.minimum(size - offsets[last], self.sizes[others] - places[last]) - 1
        needed = self.threshold / (1 + self.threshold) * (size + self.sizes[others])
        possible: Ints = others[shared + rest >= needed - ROUNDING * size]
        return possible

    def _verified(self, row: int, candidates: Ints) -> Iterator[tuple[int, float]]:
        for other in candidates.tolist():
            similarity = self.similarity(row, other)
            if similarity >= self.threshold - ROUNDING:
                yield other, similarity
