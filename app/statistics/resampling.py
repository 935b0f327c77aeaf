"""Tables of points as they might have been: battles drawn anew by rater, by context or one by one.

`S` systems, `K` clusters, `D` draws.
"""

import numpy as np

from app.statistics.battles import Battles, Floats, Integers, points_by_cluster
from app.statistics.clusters import drawn_sums


def drawn_tables(battles: Battles, cluster: Integers, rng: np.random.Generator, draws: int) -> Floats:
    """Return the tables of points [D, S, S] when clusters of `battles`, given by number [N], are drawn anew."""
    return drawn_sums(points_by_cluster(battles, cluster), rng, draws)


def tables_of_drawn_battles(battles: Battles, rng: np.random.Generator, draws: int) -> Floats:
    """Return the tables of points [D, S, S] when single battles are drawn with replacement."""
    n = battles.n_systems
    # Battles of the same two with the same outcome are alike: drawing how many of each kind is the same, and quick.
    names = (battles.a * n + battles.b) * 3 + (2 * battles.points_of_a).astype(np.int64)
    kinds, counts = np.unique(names, return_counts=True)
    drawn = rng.multinomial(len(battles), counts / counts.sum(), draws).astype(np.float64)
    a, b, points = kinds // 3 // n, kinds // 3 % n, kinds % 3 / 2
    of_kind = np.zeros((len(kinds), n, n))
    of_kind[np.arange(len(kinds)), a, b] = points
    of_kind[np.arange(len(kinds)), b, a] = 1 - points
    return np.asarray((drawn @ of_kind.reshape(len(kinds), -1)).reshape(draws, n, n))
