"""Sides, lengths and A/A pairs."""

import numpy as np
import pytest

from app.statistics.biases import same_system_test, share_with


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng([8, *seed])


def test_a_bias_is_off_one_half_and_none_is_not() -> None:
    rater, context = np.arange(600) % 12, np.arange(600) % 50
    biased = share_with(rng(1).random(600) < 0.65, rater, context, rng(2))
    assert biased.mean == pytest.approx(0.65, abs=0.06)
    assert biased.interval().low > 0.5
    fair = share_with(rng(3).random(600) < 0.5, rater, context, rng(4))
    assert fair.interval().low < 0.5 < fair.interval().high
    assert share_with(np.zeros(0, bool), np.zeros(0), np.zeros(0), rng()) is None


def test_same_system_pairs_are_significant_at_their_rate_although_votes_on_an_item_agree() -> None:
    # All three raters of an item see which reply is better: 40 items speak here, not 120 votes.
    ours, votes = 0, 0
    for run in range(400):
        random = rng(run)
        item = np.repeat(np.arange(40), 3)
        better = random.random(40) < 0.5
        points = np.where(random.random(120) < 0.9, better[item], ~better[item]).astype(np.float64)
        ours += same_system_test(points, item, random, flips=499).p <= 0.05
        votes += abs(points.sum() - 60) > 1.96 * np.sqrt(30)
    assert 6 <= ours <= 36
    assert votes > 60


def test_a_real_difference_is_found() -> None:
    found = same_system_test(np.array([1.0, 1.0, 0.5] * 20), np.repeat(np.arange(20), 3), rng())
    # Every item leads by 1: only all signs alike go as far, 2 of 2^20, so none of 9999 draws does.
    assert (found.votes, found.items, found.p) == (60, 20, pytest.approx(1e-4, abs=2e-4))
    assert found.share == pytest.approx(2.5 / 3)


def test_ties_alone_show_nothing() -> None:
    assert same_system_test(np.full(5, 0.5), np.arange(5), rng()).p == 1.0
    assert same_system_test(np.zeros(0), np.zeros(0), rng()) is None


def test_few_items_against_all_their_signs() -> None:
    # Leads of 1, 1 and 1/2: of the eight signs, two go as far as all alike.
    points = np.array([1.0, 1.0, 1.0, 1.0, 1.0])
    found = same_system_test(points, np.array([4, 4, 7, 7, 9]), rng(5))
    assert found.items == 3
    assert found.p == pytest.approx(2 / 8, abs=0.02)
    # A lead of 1 against one of 1/2: both signs of 1/2 go as far, so always.
    mixed = same_system_test(np.array([1.0, 1.0, 0.0]), np.array([0, 0, 1]), rng(6))
    assert mixed.p == 1.0
