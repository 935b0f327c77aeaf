"""Means over raters and contexts: their intervals hold the truth, and say nothing where nothing can be said."""

import numpy as np
import pytest
from scipy import stats

from app.statistics.clusters import clustered_mean, combine, drawn_sums


def crossed(rng: np.random.Generator, raters: int, contexts: int, by_rater: float, by_context: float):
    """Return values of raters who each judged a third of the contexts; their mean over everybody is 0."""
    rater, context = (axis.reshape(-1) for axis in np.indices((raters, contexts)))
    values = rng.normal(0, by_rater, raters)[rater] + rng.normal(0, by_context, contexts)[context]
    values = values + rng.normal(0, 1, len(rater))
    kept = rng.random(len(rater)) < 1 / 3
    return values[kept], rater[kept], context[kept]


@pytest.mark.parametrize(("by_rater", "by_context"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.7), (0.4, 0.7)])
def test_intervals_of_means_hold_the_truth(by_rater: float, by_context: float) -> None:
    held = 0
    for run in range(300):
        rng = np.random.default_rng([5, run])
        low, high = clustered_mean(*crossed(rng, 15, 40, by_rater, by_context), rng, draws=400).interval()
        held += low <= 0 <= high
    # Binomial: with 95 % the count is within 270 to 298 in 999 of 1000 cases; without effects it may be wider.
    assert 273 <= held <= 299


def test_a_mean_without_its_clusters_would_be_far_too_sure() -> None:
    # What the intervals are for: over single judgements alone they hold the truth about half the time here.
    held = 0
    for run in range(100):
        rng = np.random.default_rng([5, run])
        values, _, _ = crossed(rng, 15, 40, 0.4, 0.7)
        alone = clustered_mean(values, np.arange(len(values)), np.arange(len(values)), rng, draws=400)
        low, high = alone.interval()
        held += low <= 0 <= high
    assert held < 75


def test_one_rater_gives_a_mean_and_no_interval() -> None:
    rng = np.random.default_rng(0)
    mean = clustered_mean(np.array([1.0, 2.0, 3.0]), np.zeros(3), np.arange(3), rng)
    assert (mean.mean, mean.interval(), mean.judgements, mean.raters, mean.contexts) == (2.0, None, 3, 1, 3)


def test_equal_values_have_no_spread() -> None:
    rng = np.random.default_rng(0)
    assert clustered_mean(np.full(6, 4.0), np.arange(6) % 2, np.arange(6) % 3, rng).interval() == (4.0, 4.0)


def test_what_raters_and_contexts_add_is_added_and_counted_once() -> None:
    # Ten raters and ten contexts, all crossed; a value is the sum of both's own. Sample variances of 0 to 9: 55/6.
    rater, context = (axis.reshape(-1) for axis in np.indices((10, 10)))
    found = clustered_mean(1.0 * rater + context, rater, context, np.random.default_rng(0), draws=4000)
    # Each side's mean has the variance 55/6 / 10. One drawn judgement has that of both, of 0 to 9: 2 * 99/12.
    assert found.mean == pytest.approx(9)
    assert found.error**2 == pytest.approx(2 * 55 / 6 / 10 - 2 * 99 / 12 / 100, rel=0.06)
    # Of two equal variances with nine degrees of freedom each.
    assert found.freedom == pytest.approx(18, abs=0.1)
    low, high = found.interval(0.9)
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.95, found.freedom) * found.error)
    assert (high + low) / 2 == pytest.approx(9)


def test_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match="no judgements"):
        clustered_mean(np.zeros(0), np.zeros(0), np.zeros(0), np.random.default_rng(0))


def test_variances_are_added_and_what_both_saw_is_taken_off() -> None:
    # Draws with variances 4, 9 and 1 by hand: 4 * 10/9 + 9 * 20/19 - 1.
    def draws(variance: float) -> np.ndarray:
        # Two values at +-x have the sample variance 2 x^2.
        return np.array([[-1.0], [1.0]]) * np.sqrt(variance / 2)

    spread = combine(draws(4), draws(9), draws(1), raters=10, contexts=20)
    assert spread.errors**2 == pytest.approx(4 * 10 / 9 + 9 * 20 / 19 - 1)
    a, b = 4 * 10 / 9, 9 * 20 / 19
    assert spread.freedom == pytest.approx((a + b) ** 2 / (a**2 / 9 + b**2 / 19))
    # Two clusters of a kind are the fewest that say anything: their variance counts twice.
    assert combine(draws(4), draws(9), draws(1), raters=2, contexts=2).errors ** 2 == pytest.approx(2 * 4 + 2 * 9 - 1)
    for raters, contexts in ((1, 2), (2, 1)):
        alone = combine(draws(4), draws(9), draws(1), raters=raters, contexts=contexts)
        assert (alone.errors.tolist(), alone.freedom.tolist()) == ([np.inf], [1.0])
    still = combine(draws(0), draws(0), draws(0), raters=10, contexts=20)
    assert (still.errors.tolist(), still.freedom.tolist()) == ([0.0], [1.0])
    # It never falls below the wider of the two.
    assert combine(draws(4), draws(9), draws(99), raters=10, contexts=20).errors ** 2 == pytest.approx(b)


def test_sums_are_of_as_many_clusters_as_there_are_however_they_are_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    clusters = np.random.default_rng(1).normal(size=(7, 2, 3))
    whole = drawn_sums(clusters, np.random.default_rng(2), 51)
    monkeypatch.setattr("app.statistics.clusters._CELLS", 20)
    assert drawn_sums(clusters, np.random.default_rng(2), 51) == pytest.approx(whole, rel=1e-12)
    assert (drawn_sums(np.ones((7, 1)), np.random.default_rng(2), 51) == 7).all()
    assert whole.mean(axis=0) == pytest.approx(clusters.sum(axis=0), abs=2)
