"""Intervals and paired tests.  Everything is 95 %, two-sided and seeded."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Interval = tuple[float, float]

Z = NormalDist().inv_cdf(0.975)
TAILS = (2.5, 97.5)
CELLS = 1 << 22  # cells of a block of resampling weights: 32 MiB, however many rows there are


def wilson(hits: float, n: int, z: float = Z) -> Interval:
    """Score interval of a proportion (Wilson 1927); (0, 1) where there are no rows."""
    if not n:
        return 0.0, 1.0
    share = hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact p-value of the hypothesis that both systems are right equally often (McNemar, binomial).

    The arguments count the rows that one of the two alone got right.
    """
    n, k = only_first + only_second, min(only_first, only_second)
    return min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n) if n else 1.0


def paired_share_difference(only_first: int, only_second: int, n: int) -> Interval:
    """Interval of first − second for two shares over the same n rows (Bonett and Price 2012).

    Adjusted Wald: one row is added to each discordant cell.  Unlike a bootstrap it keeps a width when the two
    systems never differ.
    """
    first, second = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    half = Z * sqrt((first + second - (first - second) ** 2) / (n + 2))
    return max(-1.0, first - second - half), min(1.0, first - second + half)


def paired_share_ratio(both: int, only_first: int, only_second: int) -> Interval:
    """Interval of first / second for two shares over the same rows, of which the arguments count the right ones.

    Wilson intervals of both shares, narrowed by how much they vary together (Bonett and Price 2006, Biometrics 62,
    938-945).  Where the systems are good and alike, a bootstrap of the ratio covers it in 4 of 5 cases only.  Undefined
    where the second is never right.
    """
    first, second, n = both + only_first, both + only_second, both + only_first + only_second
    spread = sum(sqrt((n + 1 - hits) / ((n + 2) * (hits + 1))) for hits in (first, second))
    z = Z * sqrt((only_first + only_second + 2) / ((first + 1) * (second + 1))) / spread
    (low_first, high_first), (low_second, high_second) = (wilson(hits, n, z) for hits in (first, second))
    return low_first / high_second, high_first / low_second


def resampled_sums(rows: Array, draws: int, seed: int) -> Array:
    """Sums [draws, width] of `rows` [n, width] drawn with replacement, n at a time.

    The same n, draws and seed draw the same rows: systems resampled apart stay paired.
    """
    n, width = rows.shape
    sums = np.empty((draws, width))
    generator = np.random.default_rng(seed)
    block = max(1, CELLS // n)
    for start in range(0, draws, block):
        size = min(block, draws - start)
        drawn = generator.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        sums[start : start + size] = weights.astype(np.float64) @ rows
    return sums


def percentiles(values: Array) -> Interval | None:
    """The middle 95 % of resampled values; None where some resample has no value."""
    if not len(values) or not np.isfinite(values).all():
        return None
    low, high = np.percentile(values, TAILS)
    return float(low), float(high)


def bootstrap_p(differences: Array) -> float:
    """Two-sided p-value of "no difference" from resampled differences, never smaller than the draws can tell."""
    draws = len(differences)
    below, above = int((differences <= 0).sum()), int((differences >= 0).sum())
    return min(1.0, 2 * (1 + min(below, above)) / (1 + draws))


def median_interval(samples: Sequence[float], draws: int, seed: int) -> Interval:
    """Bootstrap interval of the median of a few samples."""
    values = np.asarray(samples, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    low, high = np.percentile(np.median(values[drawn], axis=1), TAILS)
    return float(low), float(high)
