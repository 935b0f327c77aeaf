"""How far a number measured on some contexts and training seeds can be trusted, and numbers read off a curve.

Pure functions of arrays. Knows no measure, system or text.
`S` training seeds, `C` contexts, `D` draws, `P` points.

Contexts and seeds are crossed: all seeds answered the same contexts. So one draw takes seeds with replacement, and
contexts with replacement, the same for every seed. With few seeds the interval is too narrow, by about the square
root of (S - 1) / S in the part that seeds contribute; with one seed it says nothing of other runs.

Paper: Efron and Tibshirani 1993, "An Introduction to the Bootstrap" (percentile intervals); Koehn 2004, "Statistical
Significance Tests for Machine Translation Evaluation" (pairing by sentence).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

LEVEL: Final = 0.95


@dataclass(frozen=True)
class Interval:
    """A number, and the ends of the interval that holds it with 95 %."""

    mean: float
    low: float
    high: float


def bootstrap_mean(values: npt.ArrayLike, *, draws: int = 1000, seed: int = 0) -> Interval:
    """Return the mean of `values` [S, C] (or [C]) with its interval over contexts and seeds.

    Raises ValueError without values.
    """
    rows = _rows(values)
    rng = np.random.default_rng(seed)
    drawn = _drawn_means(rows, _counts(rng, draws, rows.shape[1]), rng)
    return _interval(float(rows.mean()), drawn)


def bootstrap_difference(a: npt.ArrayLike, b: npt.ArrayLike, *, draws: int = 1000, seed: int = 0) -> Interval:
    """Return the mean of `a` [S, C] minus that of `b` [S', C], paired by context: column i is context i in both.

    Seeds are drawn for each by itself. Raises ValueError when the numbers of contexts differ.
    """
    first, second = _rows(a), _rows(b)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"{first.shape[1]} and {second.shape[1]} contexts: a paired difference needs the same ones")
    rng = np.random.default_rng(seed)
    contexts = _counts(rng, draws, first.shape[1])
    drawn = _drawn_means(first, contexts, rng) - _drawn_means(second, contexts, rng)
    return _interval(float(first.mean() - second.mean()), drawn)


def bootstrap_statistic(
    statistic: Callable[[Indices, Indices], float], n_contexts: int, n_seeds: int, draws: int = 1000, seed: int = 0
) -> Interval:
    """Return `statistic(seeds, contexts)` of everything, with its interval.

    It is called with indices [S] and [C], both in order once, then drawn with replacement `draws` times. Not for what
    counts different things in a set, such as distinct-n: a context drawn twice adds nothing new. Draws in which it
    is NaN are left out; the interval is NaN when all are.
    """
    if n_contexts < 1 or n_seeds < 1 or draws < 1:
        raise ValueError(f"{draws} draws of {n_contexts} contexts and {n_seeds} seeds")
    rng = np.random.default_rng(seed)
    drawn = [
        statistic(rng.integers(0, n_seeds, n_seeds), rng.integers(0, n_contexts, n_contexts)) for _ in range(draws)
    ]
    return _interval(float(statistic(np.arange(n_seeds), np.arange(n_contexts))), np.array(drawn, np.float64))


def percentile_interval(mean: float, draws: npt.ArrayLike) -> Interval:
    """Return `mean` between the percentiles of `draws` that hold 95 % of them."""
    low, high = np.quantile(np.asarray(draws, np.float64), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(mean, float(low), float(high))


def hypervolume(points: npt.ArrayLike, reference: tuple[float, float] = (0.0, 0.0)) -> float:
    """Return the area between `reference` and the front of `points` [P, 2]; both coordinates are better higher.

    Points that are not above the reference in both add nothing; 0 without points.

    Paper: Zitzler and Thiele 1998, "Multiobjective Optimization Using Evolutionary Algorithms".
    """
    above = np.asarray(points, np.float64).reshape(-1, 2) - reference
    area, reached = 0.0, 0.0
    for x, y in above[np.argsort(-above[:, 0], kind="stable")]:
        if x > 0 and y > reached:
            area += x * (y - reached)
            reached = y
    return float(area)


def interpolate_at(xs: npt.ArrayLike, ys: npt.ArrayLike, x: float) -> float:
    """Return the height at `x` of the curve through the points (`xs`, `ys`), both [P]; NaN beyond its ends.

    The points are put in the order of `xs`, whatever setting made them, and joined by straight lines: where the
    sweep turns back, it is read as if it had not. Points with the same x count as one with their mean y. Raises
    ValueError without points and for different numbers of both.
    """
    across, up = np.asarray(xs, np.float64), np.asarray(ys, np.float64)
    if across.ndim != 1 or across.shape != up.shape or not across.size:
        raise ValueError(f"a curve of shapes {across.shape} and {up.shape}")
    places, which, counts = np.unique(across, return_inverse=True, return_counts=True)
    heights = np.bincount(which, weights=up) / counts
    return float(np.interp(x, places, heights, left=np.nan, right=np.nan))


def _rows(values: npt.ArrayLike) -> Floats:
    rows = np.atleast_2d(np.asarray(values, np.float64))
    if rows.ndim != 2 or not rows.size:
        raise ValueError(f"values of shape {rows.shape}, expected seeds by contexts")
    return rows


def _counts(rng: np.random.Generator, draws: int, items: int) -> Floats:
    """Return how often each of the items is drawn, as shares: [D, items]."""
    return rng.multinomial(items, np.full(items, 1 / items), draws) / items


def _drawn_means(rows: Floats, contexts: Floats, rng: np.random.Generator) -> Floats:
    """Return the means of `rows` [S, C] under drawn shares of contexts [D, C] and seeds drawn here: [D]."""
    by_seed = contexts @ rows.T
    return np.asarray((by_seed * _counts(rng, len(contexts), len(rows))).sum(axis=1))


def _interval(mean: float, drawn: Floats) -> Interval:
    found = drawn[~np.isnan(drawn)]
    if not found.size:
        return Interval(mean, np.nan, np.nan)
    return percentile_interval(mean, found)
