"""Random halves: the right spread for means, and counts that agree with the slow way to count."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.intervals import percentile_interval
from training.evaluation.metrics import distinct_n, entropy_n
from training.evaluation.resampling import (
    NgramTable,
    common_tokens,
    half_means,
    random_halves,
)

REPLIES = st.lists(st.lists(st.integers(0, 4), max_size=6), min_size=1, max_size=8)


def test_halves_have_half_of_the_contexts_and_none_twice() -> None:
    halves = random_halves(11, 50, seed=1)
    assert halves.shape == (50, 5)
    assert all(len(set(half)) == 5 for half in halves.tolist())
    assert (random_halves(11, 50, seed=1) == halves).all()
    assert (random_halves(11, 50, seed=2) != halves).any()
    with pytest.raises(ValueError, match="half of 1 contexts"):
        random_halves(1, 10, 0)


def test_the_spread_of_half_means_is_the_standard_error_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    drawn = half_means(values, random_halves(400, 4000, seed=0))
    assert drawn.std() == pytest.approx(values.std() / math.sqrt(400), rel=0.05)
    interval = percentile_interval(float(values.mean()), drawn)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.07)
    assert interval.low < values.mean() < interval.high


def test_half_means_of_many_rows_are_those_of_each() -> None:
    halves = random_halves(6, 5, seed=3)
    values = np.arange(12.0).reshape(2, 6)
    expected = [[row[half].mean() for half in halves] for row in values]
    assert half_means(values, halves) == pytest.approx(np.array(expected))


@given(REPLIES, st.integers(1, 4), st.integers(1, 20))
def test_counting_agrees_with_the_metrics(replies: list[list[int]], n: int, tokens: int) -> None:
    table = NgramTable.of(replies, n)
    order = np.random.default_rng(len(replies)).permutation(len(replies))
    chosen = [replies[i] for i in order]
    limit = min(tokens, sum(map(len, chosen)))
    expected = distinct_n(chosen, n, limit) if limit else 0.0
    assert table.distinct(order, tokens) == pytest.approx(expected)
    assert table.entropy(order, tokens) == pytest.approx(entropy_n(chosen, n, limit) if limit else 0.0)


def test_ngrams_counted_by_hand() -> None:
    # "1 2 1 2" has the bigrams 12 21 12, "2 1" has 21: 2 different ones, 6 tokens. Of the first five tokens 12 21 12.
    table = NgramTable.of([[1, 2, 1, 2], [2, 1]], 2)
    both = np.array([0, 1])
    assert table.distinct(both, 6) == pytest.approx(2 / 6)
    assert table.distinct(both, 5) == pytest.approx(2 / 5)
    assert table.distinct(np.array([1, 0]), 2) == pytest.approx(1 / 2)
    assert table.entropy(both, 5) == pytest.approx(math.log(3) - 2 / 3 * math.log(2))


def test_a_random_half_hardly_ever_holds_fewer_tokens_than_are_counted() -> None:
    assert common_tokens([2000, 1000]) == 450
    assert common_tokens([0]) == 1
