"""Rank correlations of two lists of numbers, with ties. Pure functions. n pairs."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return Spearman's rho: Pearson's correlation of the ranks, tied values sharing their mean rank.

    None where one side never varies, so that there is no order to agree with. Raises ValueError for different lengths.
    """
    _check(a, b)
    x, y = ranks(a), ranks(b)
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / scale if scale > 0 else None


def kendall(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return Kendall's tau-b: pairs in the same order less those in opposite order, corrected for ties.

    None where one side never varies. Raises ValueError for different lengths. Paper: Kendall 1945, "The treatment of
    ties in ranking problems".
    """
    _check(a, b)
    signs = [(np.sign(x1 - x2), np.sign(y1 - y2)) for (x1, y1), (x2, y2) in combinations(zip(a, b, strict=True), 2)]
    scale = float(np.sqrt(sum(s != 0 for s, _ in signs) * sum(t != 0 for _, t in signs)))
    return float(sum(s * t for s, t in signs)) / scale if scale > 0 else None


def ranks(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return the rank of each value, from 1; tied values share the mean of theirs."""
    _, place, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], np.float64)


def _check(a: Sequence[float], b: Sequence[float]) -> None:
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} values, expected as many")
