"""Comparisons of two systems, as arrays, and the table of points that they add up to. Knows no model of strength.

`N` battles, `S` systems, `R` raters, `X` contexts, `D` draws.

A win is one point, a tie half a point for each side; "both bad" is a tie. Points are multiples of a half, so their sums
are exact and do not depend on the order of the battles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

POINTS_OF_A: Final = {"a": 1.0, "b": 0.0, "tie": 0.5, "both_bad": 0.5}
"""What each answer to "which is better?" gives a."""


@dataclass(frozen=True)
class Battles:
    """Comparisons of two systems: who met whom, what `a` got of the one point, by whom, and on which context: all [N].

    `n_systems` counts those that never fought too. Raters and contexts are numbered from 0 without gaps.
    """

    n_systems: int
    a: Integers
    b: Integers
    points_of_a: Floats
    rater: Integers
    context: Integers

    def __post_init__(self) -> None:
        shapes = {array.shape for array in (self.a, self.b, self.points_of_a, self.rater, self.context)}
        if len(shapes) != 1 or self.a.ndim != 1:
            raise ValueError(f"battles with arrays of shapes {sorted(shapes)}")
        if self.a.size and not (
            0 <= min(self.a.min(), self.b.min()) <= max(self.a.max(), self.b.max()) < self.n_systems
        ):
            raise ValueError(f"a system's number is outside 0 to {self.n_systems - 1}")
        if np.any(self.a == self.b):
            raise ValueError("a system cannot meet itself: A/A pairs are no battles")
        if not np.isin(self.points_of_a, (0.0, 0.5, 1.0)).all():
            raise ValueError("points must be 0, 0.5 or 1")

    def __len__(self) -> int:
        return int(self.a.size)

    def among(self, systems: Sequence[int]) -> "Battles":
        """Return the battles between `systems`, which are numbered anew in the order given."""
        number = np.full(self.n_systems, -1, np.int64)
        number[list(systems)] = np.arange(len(systems))
        kept = (number[self.a] >= 0) & (number[self.b] >= 0)
        return Battles(
            n_systems=len(systems),
            a=number[self.a[kept]],
            b=number[self.b[kept]],
            points_of_a=self.points_of_a[kept],
            rater=number_clusters(self.rater[kept]),
            context=number_clusters(self.context[kept]),
        )


def number_clusters(labels: npt.NDArray[np.generic]) -> Integers:
    """Return `labels` [N] as numbers from 0 without gaps, in the order in which they first appear.

    So the numbers, and every draw of clusters, stay the same under other names, such as the pseudonyms of an export.
    """
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    place = np.empty(len(first), np.int64)
    place[np.argsort(first, kind="stable")] = np.arange(len(first))
    return np.asarray(place[inverse.reshape(-1)], np.int64)


def points_table(battles: Battles) -> Floats:
    """Return the points [S, S] that the system of each row won from that of each column."""
    return points_by_cluster(battles, np.zeros(len(battles), np.int64))[0] if len(battles) else _zeros(battles)


def points_by_cluster(battles: Battles, cluster: Integers) -> Floats:
    """Return the table of points of each cluster by itself: [clusters, S, S] for `cluster` [N] numbered from 0."""
    n = battles.n_systems
    clusters = int(cluster.max()) + 1 if cluster.size else 0
    forward = np.bincount((cluster * n + battles.a) * n + battles.b, battles.points_of_a, clusters * n * n)
    backward = np.bincount((cluster * n + battles.b) * n + battles.a, 1 - battles.points_of_a, clusters * n * n)
    return np.asarray((forward + backward).reshape(clusters, n, n), np.float64)


def _zeros(battles: Battles) -> Floats:
    return np.zeros((battles.n_systems, battles.n_systems))
