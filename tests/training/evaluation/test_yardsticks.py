"""Distances over equal numbers of texts: the human replies are measured like everybody's."""

import numpy as np
import pytest

from training.evaluation.yardsticks import half_against_half


def test_half_against_half_is_worked_out() -> None:
    # One dimension: the distance is (difference of means)^2 + (difference of standard deviations)^2.
    human = np.array([[0.0], [10.0], [2.0], [12.0]])  # even 0 2: mean 1; odd 10 12: mean 11; the same spread
    assert half_against_half(human, human) == pytest.approx(100)
    moved = human + 10
    # Even of moved, 10 12, against odd of human, 10 12: 0. Odd of moved, 20 22, against even of human, 0 2: 400.
    assert half_against_half(moved, human) == pytest.approx(200)


def test_no_system_is_nearer_to_people_than_people_are_on_average() -> None:
    rng = np.random.default_rng(0)
    human, other = rng.normal(size=(2, 2000, 4)), rng.normal(0.5, 1, (2000, 4))
    floor = half_against_half(human[0], human[0])
    assert half_against_half(human[1], human[0]) == pytest.approx(floor, abs=0.02)
    assert half_against_half(other, human[0]) > floor + 0.5
