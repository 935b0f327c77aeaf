"""Rank correlations: by hand, and as SciPy computes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.correlation import kendall, ranks, spearman

stats = pytest.importorskip("scipy.stats", reason="training computes them without SciPy")


def test_by_hand() -> None:
    # One neighbouring pair swapped of four: rho = 1 - 6 * 2 / (4 * 15), tau = (5 - 1) / 6.
    assert spearman([1, 2, 3, 4], [10, 30, 20, 40]) == pytest.approx(0.8)
    assert kendall([1, 2, 3, 4], [10, 30, 20, 40]) == pytest.approx(4 / 6)
    assert ranks([5, 1, 5, 9]).tolist() == [2.5, 1, 2.5, 4]


def test_without_an_order_there_is_no_correlation() -> None:
    assert spearman([1, 1, 1], [1, 2, 3]) is None
    assert kendall([1, 2, 3], [7, 7, 7]) is None
    with pytest.raises(ValueError, match="3 and 2"):
        spearman([1, 2, 3], [1, 2])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=12))
def test_as_scipy_has_it(pairs: list[tuple[int, int]]) -> None:
    a, b = [float(x) for x, _ in pairs], [float(y) for _, y in pairs]
    if len(set(a)) > 1 and len(set(b)) > 1:
        assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
        assert kendall(a, b) == pytest.approx(stats.kendalltau(a, b).statistic)
    else:
        assert spearman(a, b) is None
        assert kendall(a, b) is None
