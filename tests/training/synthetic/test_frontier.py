"""The frontier by hand: what lies outside, what cannot be said."""

import math

import pytest

from training.synthetic.frontier import Point, nll_oracle_at, outside, spread

TEMPERED = [Point(7.5, 9.7), Point(7.6, 9.1), Point(8.0, 8.1)]


@pytest.mark.parametrize(("gen", "oracle"), [(7.5, 9.7), (7.55, 9.4), (7.6, 9.1), (7.8, 8.6), (8.0, 8.1)])
def test_a_curve_is_read_on_straight_lines(gen: float, oracle: float) -> None:
    assert nll_oracle_at(TEMPERED, gen) == pytest.approx(oracle)


@pytest.mark.parametrize("gen", [7.4, 8.1])
def test_outside_of_a_curve_there_is_no_value(gen: float) -> None:
    assert math.isnan(nll_oracle_at(TEMPERED, gen))


def test_where_a_curve_turns_back_the_lower_branch_counts() -> None:
    epochs = [Point(8.0, 10.0), Point(7.6, 9.8), Point(8.0, 9.0)]
    assert nll_oracle_at(epochs, 7.8) == pytest.approx(9.4)


def test_outside_is_measured_from_the_best_curve() -> None:
    worse = [Point(7.5, 10.0), Point(8.0, 9.0)]
    assert outside([TEMPERED, worse], Point(7.8, 8.4)) == pytest.approx(0.2)
    assert outside([TEMPERED, worse], Point(7.8, 8.9)) == pytest.approx(-0.3)


def test_knowing_more_than_anybody_is_measured_from_the_best_known_point() -> None:
    assert outside([TEMPERED], Point(7.4, 9.6)) == pytest.approx(0.1)


def test_what_is_worse_in_both_is_not_outside() -> None:
    """Even where the only curve that passes is a worse one: cooled likelihood ends at 8.0, and has 8.1 there."""
    passing = [Point(8.5, 9.1), Point(9.5, 9.0)]
    assert outside([TEMPERED, passing], Point(9.0, 8.8)) == pytest.approx(-0.7)
    assert outside([TEMPERED], Point(9.0, 8.8)) == pytest.approx(-0.7)
    assert outside([TEMPERED, passing], Point(9.0, 8.0)) == pytest.approx(0.1)


def test_beyond_everybody_nothing_is_said() -> None:
    assert math.isnan(outside([TEMPERED], Point(9.0, 5.0)))
    assert math.isnan(outside([], Point(9.0, 5.0)))


def test_the_interval_is_students() -> None:
    found = spread([1.0, 2.0, 3.0])  # deviation 1, margin 4.303 / sqrt(3) = 2.484
    assert (found.mean, found.deviation) == (2.0, 1.0)
    assert (found.low, found.high) == pytest.approx((-0.484, 4.484), abs=1e-3)
    assert math.isnan(spread([1.0]).low)
