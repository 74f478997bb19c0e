from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.statistics import (
    bootstrap_p,
    mcnemar,
    median_interval,
    paired_share_difference,
    paired_share_ratio,
    percentiles,
    resampled_sums,
    wilson,
)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_knows_nothing_without_rows() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_stays_inside_0_and_1(case: tuple[int, int]) -> None:
    hits, n = case
    low, high = wilson(hits, n)
    assert 0 <= low <= hits / n + 1e-12
    assert hits / n - 1e-12 <= high <= 1


@pytest.mark.parametrize(("b", "c", "p"), [(5, 15, 0.041389), (0, 0, 1.0), (7, 7, 1.0), (0, 6, 0.03125)])
def test_mcnemar_gives_the_exact_binomial_p(b: int, c: int, p: float) -> None:
    assert mcnemar(b, c) == pytest.approx(p, abs=1e-6)


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_twice_the_smaller_tail_of_a_fair_coin(b: int, c: int) -> None:
    tail = sum(comb(b + c, k) for k in range(b + c + 1) if k <= min(b, c)) / 2 ** (b + c)
    assert mcnemar(b, c) == mcnemar(c, b) == pytest.approx(min(1.0, 2 * tail))


def test_the_paired_interval_mirrors_when_the_systems_are_swapped_and_never_has_no_width() -> None:
    low, high = paired_share_difference(12, 5, 100)
    assert paired_share_difference(5, 12, 100) == pytest.approx((-high, -low))
    low, high = paired_share_difference(0, 0, 100)
    assert low < 0 < high


def test_the_paired_interval_covers_the_true_difference_about_19_times_in_20() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(1000):
        only_first, only_second, _ = generator.multinomial(80, [0.20, 0.08, 0.72])
        low, high = paired_share_difference(int(only_first), int(only_second), 80)
        covered += low <= 0.12 <= high
    assert 0.93 <= covered / 1000 <= 0.98


def test_the_ratio_of_paired_shares_has_the_published_interval() -> None:
    # ci.ratio.prop.ps(.05, 12, 4, 26, 6) of the R package statpsych, by Bonett: 3.2, 1.766544 to 5.796628
    assert paired_share_ratio(6, 26, 4) == pytest.approx((1.766544, 5.796628), abs=1e-6)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 60))
def test_the_ratio_interval_holds_the_ratio_and_inverts_when_the_systems_are_swapped(b: int, f: int, s: int) -> None:
    low, high = paired_share_ratio(b, f, s)
    assert 0 <= low <= (b + f) / (b + s) + 1e-12 < high
    if b + f:
        back = paired_share_ratio(b, s, f)
        assert (1 / back[1], 1 / back[0]) == pytest.approx((low, high))


# a good teacher and a student near it: where a bootstrap covers 81 and 91 of 100
@pytest.mark.parametrize(("n", "both", "student", "teacher"), [(40, 0.93, 0.02, 0.04), (100, 0.93, 0.02, 0.04)])
def test_the_ratio_interval_covers_what_is_kept_at_least_19_times_in_20(
    n: int, both: float, student: float, teacher: float
) -> None:
    generator = np.random.default_rng(3)
    kept = (both + student) / (both + teacher)
    covered = 0
    for counts in generator.multinomial(n, [both, student, teacher, 1 - both - student - teacher], 1000):
        low, high = paired_share_ratio(*map(int, counts[:3]))
        covered += low <= kept <= high
    assert covered / 1000 >= 0.94


@pytest.mark.parametrize(("share", "n"), [(0.5, 40), (0.9, 100), (0.98, 400)])
def test_wilson_covers_the_true_share_about_19_times_in_20(share: float, n: int) -> None:
    chances = {hits: comb(n, hits) * share**hits * (1 - share) ** (n - hits) for hits in range(n + 1)}
    covered = sum(chance for hits, chance in chances.items() if wilson(hits, n)[0] <= share <= wilson(hits, n)[1])
    assert 0.92 <= covered <= 0.98


def test_the_bootstrap_interval_covers_the_true_mean_about_19_times_in_20() -> None:
    generator = np.random.default_rng(2)
    covered = 0
    for seed in range(300):
        rows = np.column_stack([np.ones(60), generator.beta(2, 3, 60)])  # scores between 0 and 1, mean 0.4
        sums = resampled_sums(rows, 300, seed)
        interval = percentiles(sums[:, 1] / sums[:, 0])
        assert interval is not None
        covered += interval[0] <= 0.4 <= interval[1]
    assert 0.91 <= covered / 300 <= 0.98


def test_resampled_sums_draw_n_rows_each_time_and_the_same_rows_for_the_same_seed() -> None:
    rows = np.column_stack([np.ones(50), np.arange(50.0)])
    sums = resampled_sums(rows, 40, 7)
    assert (sums[:, 0] == 50).all()
    assert np.array_equal(sums[:, 1], resampled_sums(rows[:, 1:], 40, 7)[:, 0])
    assert not np.array_equal(sums, resampled_sums(rows, 40, 8))


def test_resampling_in_blocks_keeps_systems_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.statistics.CELLS", 120)  # blocks of two draws
    rows = np.random.default_rng(3).random((50, 1))
    assert np.allclose(resampled_sums(rows, 7, 0) * 2, resampled_sums(rows * 2, 7, 0))


def test_percentiles_give_up_where_a_resample_has_no_value() -> None:
    assert percentiles(np.array([1.0, np.nan, 2.0])) is None
    assert percentiles(np.linspace(0, 1, 1001)) == pytest.approx((0.025, 0.975))


def test_a_bootstrap_p_never_claims_more_than_its_draws_can_tell() -> None:
    assert bootstrap_p(np.ones(999)) == pytest.approx(0.002)
    assert bootstrap_p(np.zeros(999)) == 1.0


def test_the_median_interval_holds_the_median() -> None:
    low, high = median_interval([1.0, 2.0, 3.0, 4.0, 100.0], 500, 0)
    assert 1.0 <= low <= 3.0 <= high <= 100.0
