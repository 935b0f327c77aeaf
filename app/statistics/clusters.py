"""How far a number can be trusted when raters and contexts are both samples. Knows no judgement: draws and variances.

`D` draws, `K` clusters of one kind, `M` numbers measured, `N` judgements.

Judgements of one rater, and judgements on one context, resemble each other, and every judgement has one of each. A
bootstrap over raters sees what raters add and what single judgements add; one over contexts likewise. The wider of the
two still misses the narrower one's own part, so it is widened to the sum: V(raters) + V(contexts) - V(judgements).
A handful of clusters says too little about its own spread: hence K / (K - 1), and Student's t.

Papers: Efron and Tibshirani 1993, "An Introduction to the Bootstrap"; Cameron, Gelbach and Miller 2011, "Robust
Inference with Multiway Clustering"; Satterthwaite 1946, "An Approximate Distribution of Estimates of Variance
Components".
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from app.statistics.battles import Floats, Integers, number_clusters

LEVEL: Final = 0.95
DRAWS: Final = 1000
_CELLS: Final = 2_000_000
"""Counts that are in memory together, however many clusters there are."""


class Interval(NamedTuple):
    """The ends that hold a number with 95 %, or with the level asked for."""

    low: float
    high: float


@dataclass(frozen=True)
class Spread:
    """The standard errors [M] of M numbers, and the degrees of freedom [M] of Student's t for them."""

    errors: Floats
    freedom: Floats

    def reach(self, level: float = LEVEL) -> Floats:
        """Return how far the interval of `level` goes to each side: [M]; infinite where nothing can be said."""
        quantiles: Floats = stats.t.ppf((1 + level) / 2, self.freedom)
        # No variance at all in any draw is no certainty, but it is what the judgements say: the caller has the count.
        return np.asarray(np.where(self.errors > 0, quantiles * self.errors, self.errors), np.float64)


def drawn_sums(clusters: Floats, rng: np.random.Generator, draws: int = DRAWS) -> Floats:
    """Return the sums [D, ...] over clusters [K, ...] when K of them are drawn with replacement, D times."""
    k = len(clusters)
    flat = clusters.reshape(k, -1)
    sums = np.empty((draws, flat.shape[1]))
    together = max(1, _CELLS // k)
    for begin in range(0, draws, together):
        counts = rng.multinomial(k, np.full(k, 1 / k), min(together, draws - begin))
        sums[begin : begin + together] = counts @ flat
    return sums.reshape(draws, *clusters.shape[1:])


def combine(by_rater: Floats, by_context: Floats, by_judgement: Floats, *, raters: int, contexts: int) -> Spread:
    """Return the spread of M numbers from their draws [D, M] over raters, over contexts and over single judgements.

    One cluster alone says nothing about its kind: the errors are infinite then.
    """
    of_raters = _variance(by_rater) * _correction(raters)
    of_contexts = _variance(by_context) * _correction(contexts)
    if min(raters, contexts) < 2:
        infinite = np.full(len(of_raters), np.inf)
        return Spread(infinite, np.ones(len(of_raters)))
    wider = np.maximum(of_raters, of_contexts)
    total = np.maximum(wider, of_raters + of_contexts - _variance(by_judgement))
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = (of_raters + of_contexts) ** 2 / (of_raters**2 / (raters - 1) + of_contexts**2 / (contexts - 1))
    return Spread(np.sqrt(total), np.nan_to_num(freedom, nan=1.0))


@dataclass(frozen=True)
class Mean:
    """A mean of judgements, its standard error and the degrees of freedom of Student's t for it.

    `judgements`, `raters` and `contexts` count what it was made of.
    """

    mean: float
    error: float
    freedom: float
    judgements: int
    raters: int
    contexts: int

    def interval(self, level: float = LEVEL) -> Interval | None:
        """Return the interval at `level`; None where there are too few raters or contexts to say anything."""
        reach = float(Spread(np.array([self.error]), np.array([self.freedom])).reach(level)[0])
        return Interval(self.mean - reach, self.mean + reach) if np.isfinite(reach) else None


def clustered_mean(
    values: npt.ArrayLike,
    rater: npt.NDArray[np.generic],
    context: npt.NDArray[np.generic],
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Mean:
    """Return the mean of `values` [N], whose raters and contexts are named by `rater` and `context` [N].

    Raises ValueError without values.
    """
    numbers = np.asarray(values, np.float64)
    if not numbers.size:
        raise ValueError("a mean of no judgements")
    raters, contexts = number_clusters(rater), number_clusters(context)
    n_raters, n_contexts = int(raters.max()) + 1, int(contexts.max()) + 1
    mean = float(numbers.mean())
    # Measured from the mean: sums of what is left are small, and all equal values give no spread at all.
    left = numbers - mean
    spread = combine(
        _drawn_means(left, raters, n_raters, rng, draws),
        _drawn_means(left, contexts, n_contexts, rng, draws),
        _drawn_single_means(left, rng, draws),
        raters=n_raters,
        contexts=n_contexts,
    )
    return Mean(mean, float(spread.errors[0]), float(spread.freedom[0]), int(numbers.size), n_raters, n_contexts)


def _drawn_means(values: Floats, cluster: Integers, clusters: int, rng: np.random.Generator, draws: int) -> Floats:
    """Return the means [D, 1] of `values` [N] when whole clusters are drawn."""
    sums = [np.bincount(cluster, weights, clusters) for weights in (values, np.ones_like(values))]
    drawn = drawn_sums(np.stack(sums, axis=1), rng, draws)
    return np.asarray(drawn[:, :1] / drawn[:, 1:])


def _drawn_single_means(values: Floats, rng: np.random.Generator, draws: int) -> Floats:
    kinds, counts = np.unique(values, return_counts=True)
    drawn = rng.multinomial(values.size, counts / values.size, draws)
    return np.asarray((drawn @ kinds / values.size)[:, None])


def _variance(draws: Floats) -> Floats:
    return np.asarray(draws.var(axis=0, ddof=1), np.float64)


def _correction(clusters: int) -> float:
    return clusters / (clusters - 1) if clusters > 1 else 1.0
