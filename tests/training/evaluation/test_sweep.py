"""Two curves at equal diversity: who beats whom is known because the curves are made up."""

import numpy as np
import pytest

from training.evaluation.sampling import Setting
from training.evaluation.sweep import Curve, compare, read_curve

DRAWS = 400
TEMPERATURES = (0.5, 0.75, 1.0)


def curve(name: str, d: list[float], q: list[float], *, noise: float = 0.01, seeds: int = 1, rng: int = 0) -> Curve:
    """Return a curve of `seeds` equal training seeds whose draws spread by `noise`."""
    spread = np.random.default_rng(rng).normal(0, noise, (2, DRAWS, seeds, len(d)))
    whole = np.tile(np.array(q), (seeds, 1))
    return Curve(name, tuple(map(Setting, TEMPERATURES)), np.array(d) + 0.01 * spread[0], whole + spread[1], whole)


BASE = curve("base", [0.2, 0.4, 0.6], [0.5, 0.4, 0.3])


def test_a_curve_that_lies_above_beats_and_the_other_loses() -> None:
    above = curve("above", [0.2, 0.4, 0.6], [0.6, 0.5, 0.4], rng=1)
    found = compare(above, BASE, seed=0)
    assert (found.verdict, found.better, found.worse) == ("beats", 5, 0)
    assert compare(BASE, above, seed=0).verdict == "loses"
    # Over .2 to .6 the five points are the middles of fifths: .24 .32 .40 .48 .56; quality there falls by .5 per unit.
    assert [point.diversity for point in found.points] == pytest.approx([0.24, 0.32, 0.4, 0.48, 0.56], abs=0.001)
    assert [point.baseline for point in found.points] == pytest.approx([0.48, 0.44, 0.4, 0.36, 0.32], abs=0.001)
    assert all(point.difference.mean == pytest.approx(0.1, abs=0.001) for point in found.points)
    assert all(0.06 < point.difference.low < 0.1 < point.difference.high < 0.14 for point in found.points)
    # Boxes from zero: base .2*.5 + .2*.4 + .2*.3 = .24, above .3.
    assert found.volume.mean == pytest.approx(0.06, abs=0.001)


def test_moving_along_the_same_curve_is_no_gain() -> None:
    """A colder system has better replies and is no better: it lies on the same line."""
    colder = curve("colder", [0.1, 0.3, 0.5], [0.55, 0.45, 0.35], rng=2)
    found = compare(colder, BASE, seed=0)
    assert found.verdict == "neither"
    assert found.overlap == pytest.approx((0.2, 0.5), abs=0.002)
    assert max(abs(point.difference.mean) for point in found.points) < 0.01


def test_two_points_of_five_are_not_enough() -> None:
    bent = curve("bent", [0.2, 0.4, 0.6], [0.5, 0.4, 0.45], rng=3)  # better in the last quarter only
    found = compare(bent, BASE, seed=0)
    assert (found.better, found.worse, found.verdict) == (2, 0, "neither")


def test_curves_that_share_no_diversity_are_not_compared() -> None:
    found = compare(curve("far", [0.7, 0.8, 0.9], [0.9, 0.9, 0.9]), BASE, seed=0)
    assert (found.verdict, found.overlap, found.points) == ("apart", None, ())


def test_seeds_that_disagree_widen_the_interval() -> None:
    whole = np.array([[0.4, 0.3, 0.2], [0.8, 0.7, 0.6]])
    draws = np.repeat(whole[None], DRAWS, axis=0)
    diversity = np.broadcast_to([0.2, 0.4, 0.6], draws.shape)
    two = Curve("two", tuple(map(Setting, TEMPERATURES)), diversity, draws, whole)
    found = compare(two, BASE, seed=0)
    assert all(point.difference.mean == pytest.approx(0.1, abs=0.01) for point in found.points)
    assert found.verdict == "neither"  # one seed is .1 below, the other .3 above
    assert all(point.difference.low < -0.05 and point.difference.high > 0.25 for point in found.points)


def test_a_curve_is_read_in_the_order_of_its_diversity() -> None:
    d, q = np.array([0.6, 0.2, 0.4]), np.array([0.3, 0.5, 0.4])
    assert read_curve(d, q, np.array([0.1, 0.3, 0.6, 0.9])) == pytest.approx([0.5, 0.45, 0.3, 0.3])


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="settings"):
        Curve("x", (Setting(),), BASE.diversity, BASE.quality, BASE.whole)
    with pytest.raises(ValueError, match="shapes"):
        Curve("x", BASE.settings, BASE.diversity[:, :, :2], BASE.quality, BASE.whole)
