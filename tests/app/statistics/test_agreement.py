"""Krippendorff's alpha against the package of that name, and where it is undefined."""

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.statistics.agreement import Agreement, krippendorff_alpha

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", example C: 4 observers, 12 units, gaps.
EXAMPLE = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


def rows(table: list[list[int | None]]) -> tuple[np.ndarray, np.ndarray]:
    found = [(unit, value) for line in table for unit, value in enumerate(line) if value is not None]
    return np.array([unit for unit, _ in found]), np.array([value for _, value in found])


def rng() -> np.random.Generator:
    return np.random.default_rng(4)


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815)])
def test_the_published_example(level: str, published: float) -> None:
    found = krippendorff_alpha(*rows(EXAMPLE), level, rng())
    assert found.alpha == pytest.approx(published, abs=5e-4)
    assert (found.units, found.judgements) == (11, 40)
    assert found.interval.low < found.alpha < found.interval.high


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.lists(st.none() | st.integers(1, 5), min_size=3, max_size=3), min_size=2, max_size=9),
    st.sampled_from(["nominal", "ordinal"]),
)
def test_the_package_agrees(units: list[list[int | None]], level: str) -> None:
    table = [list(line) for line in zip(*units, strict=True)]
    found = krippendorff_alpha(*rows(table), level, rng(), draws=10)
    pairable = [value for unit in units if sum(v is not None for v in unit) > 1 for value in unit if value is not None]
    if len(set(pairable)) < 2:
        assert found.alpha is None
        assert found.reason
        return
    numbers = np.array([[np.nan if v is None else v for v in line] for line in table], np.float64)
    expected = krippendorff.alpha(reliability_data=numbers, level_of_measurement=level)
    assert found.alpha == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("level", ["nominal", "ordinal"])
def test_the_interval_is_that_of_the_packages_alpha_of_drawn_units(level: str) -> None:
    random = np.random.default_rng(3)
    truth = random.integers(1, 5, 40)
    table = np.where(random.random((3, 40)) < 0.6, truth, random.integers(1, 5, (3, 40)))
    found = krippendorff_alpha(np.tile(np.arange(40), 3), table.reshape(-1), level, rng(), draws=4000)
    drawn = [
        krippendorff.alpha(reliability_data=table[:, random.integers(0, 40, 40)], level_of_measurement=level)
        for _ in range(1000)
    ]
    assert found.interval == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.025)


def test_undefined_says_why() -> None:
    none = krippendorff_alpha(np.array([1, 2, 3]), np.array([1, 2, 3]), "ordinal", rng())
    assert none == Agreement(None, None, 0, 0, "no item was judged by two raters")
    empty = krippendorff_alpha(np.zeros(0, np.int64), np.zeros(0, np.int64), "nominal", rng())
    assert empty == none
    same = krippendorff_alpha(np.array([1, 1, 2, 2]), np.array([3, 3, 3, 3]), "ordinal", rng())
    assert (same.alpha, same.interval, same.units, same.judgements) == (None, None, 2, 4)
    assert "all judgements are the same" in same.reason
    single = krippendorff_alpha(np.array([1, 1]), np.array([3, 4]), "ordinal", rng())
    assert single.alpha is not None
    assert (single.interval, single.reason) == (None, "one item alone gives no interval")
    assert (single.units, single.judgements) == (1, 2)
    two = krippendorff_alpha(np.array([1, 1, 2, 2]), np.array([3, 4, 4, 4]), "ordinal", rng())
    assert two.interval is not None
    assert two.reason is None


def test_the_interval_of_alpha_holds_it() -> None:
    # A rater repeats the unit's truth with chance 0.8 and else draws at random among two: alpha is 0.8^2 = 0.64.
    held = 0
    for run in range(200):
        random = np.random.default_rng([9, run])
        truth = random.integers(0, 2, 100)
        values = np.where(random.random((100, 3)) < 0.8, truth[:, None], random.integers(0, 2, (100, 3)))
        found = krippendorff_alpha(np.repeat(np.arange(100), 3), values.reshape(-1), "nominal", random, draws=300)
        held += found.interval.low <= 0.64 <= found.interval.high
    assert 180 <= held <= 198
