"""Intervals against known distributions, and curves against numbers worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.evaluation.intervals import (
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_statistic,
    hypervolume,
    interpolate_at,
)

FLOATS = st.floats(-5, 5, allow_subnormal=False)


def test_what_does_not_vary_has_no_width() -> None:
    found = bootstrap_mean(np.full((2, 5), 3.0), draws=50)
    assert [found.mean, found.low, found.high] == pytest.approx([3.0, 3.0, 3.0])


def test_coverage_is_about_95_percent() -> None:
    rng = np.random.default_rng(0)
    held = []
    for i in range(600):
        interval = bootstrap_mean(rng.normal(1.0, 2.0, 100), draws=600, seed=i)
        held.append(interval.low <= 1.0 <= interval.high)
    assert 0.92 <= np.mean(held) <= 0.97  # the standard error of 600 tosses is .009


def test_coverage_over_seeds_and_contexts_that_both_vary() -> None:
    rng = np.random.default_rng(1)
    held = []
    for i in range(300):
        values = rng.normal(0, 1, (12, 1)) + rng.normal(0, 2, (1, 60)) + rng.normal(0, 1, (12, 60))
        interval = bootstrap_mean(values, draws=300, seed=i)
        held.append(interval.low <= 0.0 <= interval.high)
    assert 0.90 <= np.mean(held) <= 0.98


def test_seeds_that_differ_widen_the_interval() -> None:
    rng = np.random.default_rng(2)
    same = rng.normal(0, 1, (4, 200))
    different = same + np.array([[-1.0], [0.0], [0.5], [1.0]])
    one, other = bootstrap_mean(same), bootstrap_mean(different)
    assert other.high - other.low > 3 * (one.high - one.low)


def test_a_pair_of_systems_on_hard_and_easy_contexts_differs_by_what_it_differs() -> None:
    rng = np.random.default_rng(3)
    contexts = rng.normal(0, 10, 200)
    a, b = contexts + 0.5 + rng.normal(0, 0.1, (3, 200)), contexts[None] + rng.normal(0, 0.1, (2, 200))
    found = bootstrap_difference(a, b)
    assert found.mean == pytest.approx(a.mean() - b.mean())
    assert 0.45 < found.low < 0.5 < found.high < 0.55
    with pytest.raises(ValueError, match="200 and 3 contexts"):
        bootstrap_difference(a, np.zeros(3))


def test_any_statistic_of_indices_is_given_an_interval() -> None:
    values = np.random.default_rng(4).normal(0, 1, (3, 80))
    mean = bootstrap_statistic(lambda s, c: float(values[np.ix_(s, c)].mean()), 80, 3, draws=2000)
    known = bootstrap_mean(values, draws=2000)
    assert mean.mean == pytest.approx(known.mean)
    assert [mean.low, mean.high] == pytest.approx([known.low, known.high], abs=0.03)
    calls: list[tuple[int, int]] = []

    def remembered(seeds: NDArray[np.int64], contexts: NDArray[np.int64]) -> float:
        calls.append((len(seeds), len(contexts)))
        return 0.0

    bootstrap_statistic(remembered, 5, 2, draws=7)
    assert calls == [(2, 5)] * 8
    with pytest.raises(ValueError, match="0 draws"):
        bootstrap_statistic(lambda s, c: 0.0, 5, 2, draws=0)


def test_draws_without_a_value_are_left_out() -> None:
    found = bootstrap_statistic(lambda s, c: math.nan if 0 in c else float(c.mean()), 3, 1, draws=100)
    assert math.isnan(found.mean)
    assert 1 <= found.low <= found.high <= 2
    assert math.isnan(bootstrap_statistic(lambda s, c: math.nan, 3, 1, draws=5).low)


def test_intervals_are_the_same_for_the_same_seed() -> None:
    values = np.random.default_rng(5).normal(0, 1, (2, 30))
    assert bootstrap_mean(values, seed=7) == bootstrap_mean(values, seed=7) != bootstrap_mean(values, seed=8)
    with pytest.raises(ValueError, match="seeds by contexts"):
        bootstrap_mean([])


def test_hypervolume() -> None:
    # Steps: 1 wide up to .9, 2 wide up to .5, 3 wide up to .2: 3*.2 + 2*.3 + 1*.4
    front = [(1.0, 0.9), (3.0, 0.2), (2.0, 0.5)]
    assert hypervolume(front) == pytest.approx(1.6)
    assert hypervolume([*front, (1.0, 0.5), (-1.0, 9.0), (9.0, -1.0)]) == pytest.approx(1.6)
    assert hypervolume([(2.0, 3.0)], (1.0, 1.0)) == pytest.approx(2.0)
    assert hypervolume([]) == 0.0


@given(st.lists(st.tuples(FLOATS, FLOATS), max_size=6), st.tuples(FLOATS, FLOATS))
def test_another_point_never_takes_volume_away(points: list[tuple[float, float]], new: tuple[float, float]) -> None:
    before, after = hypervolume(points), hypervolume([*points, new])
    assert after >= before - 1e-9
    assert after >= max(0.0, new[0]) * max(0.0, new[1]) - 1e-9


def test_a_curve_is_read_between_its_points_and_nowhere_else() -> None:
    xs, ys = [0.1, 0.3, 0.2], [1.0, 5.0, 2.0]
    assert interpolate_at(xs, ys, 0.25) == pytest.approx(3.5)
    assert interpolate_at(xs, ys, 0.3) == 5.0
    assert math.isnan(interpolate_at(xs, ys, 0.31))
    assert math.isnan(interpolate_at(xs, ys, 0.09))
    assert interpolate_at([1, 1, 2], [0.0, 2.0, 4.0], 1) == 1.0
    with pytest.raises(ValueError, match="a curve of shapes"):
        interpolate_at([1.0], [1.0, 2.0], 1.0)
    with pytest.raises(ValueError, match="a curve of shapes"):
        interpolate_at([], [], 1.0)
