"""Krippendorff's alpha: how far raters agree beyond chance, with its interval, or the reason why there is none.

`U` units (what was judged), `V` values, `D` draws. A unit that one rater alone judged says nothing and is left out.

Paper: Krippendorff 2018, "Content Analysis", chapter 12; Hayes and Krippendorff 2007, "Answering the Call for a
Standard Reliability Measure for Coding Data".
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from app.statistics.battles import Floats, Integers, number_clusters
from app.statistics.clusters import DRAWS, LEVEL, Interval, drawn_sums

Level = Literal["nominal", "ordinal"]

_NO_UNIT: Final = "no item was judged by two raters"
_NO_VARIATION: Final = "all judgements are the same, so agreement beyond chance has no meaning"


@dataclass(frozen=True)
class Agreement:
    """Alpha with its interval over units; both None where undefined, and then `reason` says why."""

    alpha: float | None
    interval: Interval | None
    units: int
    judgements: int
    reason: str | None = None


def krippendorff_alpha(
    unit: npt.NDArray[np.generic],
    values: npt.NDArray[np.generic],
    level: Level,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Agreement:
    """Return alpha of judgements [N], given by their `unit` and `values`, which sort in their order where ordinal.

    Units are drawn with replacement for the interval. Draws in which all values are the same are left out of it.
    """
    counts = _counts(unit, values)
    units, judgements = len(counts), int(counts.sum())
    if not units:
        return Agreement(None, None, 0, 0, _NO_UNIT)
    own = _coincidences(counts)
    alpha = _alpha(own.sum(axis=0, keepdims=True), level)[0]
    if np.isnan(alpha):
        return Agreement(None, None, units, judgements, _NO_VARIATION)
    if units < 2:
        return Agreement(float(alpha), None, units, judgements, "one item alone gives no interval")
    drawn = _alpha(drawn_sums(own, rng, draws), level)
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Agreement(float(alpha), Interval(float(low), float(high)), units, judgements)


def _counts(unit: npt.NDArray[np.generic], values: npt.NDArray[np.generic]) -> Integers:
    """Return how often each unit that two raters or more judged got each value: [U, V]."""
    units, codes = number_clusters(unit), np.unique(values, return_inverse=True)[1].reshape(-1)
    if not units.size:
        return np.zeros((0, 0), np.int64)
    rows, columns = int(units.max()) + 1, int(codes.max()) + 1
    table = np.bincount(units * columns + codes, minlength=rows * columns).reshape(rows, columns)
    return np.asarray(table[table.sum(axis=1) >= 2], np.int64)


def _coincidences(counts: Integers) -> Floats:
    """Return the coincidences of values within each unit: [U, V, V]."""
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(counts.shape[1], dtype=np.int64)
    return np.asarray(pairs / (counts.sum(axis=1) - 1)[:, None, None], np.float64)


def _alpha(coincidences: Floats, level: Level) -> Floats:
    """Return alpha [D] of tables of coincidences [D, V, V]; NaN where all values are the same."""
    totals = coincidences.sum(axis=2)
    distance = _distance(totals, level)
    n = totals.sum(axis=1)
    observed = (coincidences * distance).sum(axis=(1, 2))
    expected = (totals[:, :, None] * totals[:, None, :] * distance).sum(axis=(1, 2))
    # Sums of fractions: what is zero by right may be a rounding error away from it.
    constant = (totals > 1e-9).sum(axis=1) < 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(constant, np.nan, 1 - (n - 1) * observed / expected), np.float64)


def _distance(totals: Floats, level: Level) -> Floats:
    """Return how far apart two values are, squared: [D, V, V] for the values' frequencies [D, V]."""
    draws, n = totals.shape
    if level == "nominal":
        return np.broadcast_to(1 - np.eye(n), (draws, n, n))
    # Ordinal: the judgements between two values, the values' own counted half.
    middle = totals.cumsum(axis=1) - totals / 2
    return np.asarray((middle[:, :, None] - middle[:, None, :]) ** 2)
