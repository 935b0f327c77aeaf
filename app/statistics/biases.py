"""What moves votes beside the replies: the side, the length, chance itself. Pure functions of decisive votes.

`N` votes, `I` items.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from app.statistics.battles import Booleans, Floats, number_clusters
from app.statistics.clusters import Mean, clustered_mean

FLIPS: Final = 9999


def share_with(
    favoured: Booleans, rater: npt.NDArray[np.generic], context: npt.NDArray[np.generic], rng: np.random.Generator
) -> Mean | None:
    """Return the share of decisive votes for the `favoured` reply [N], with its interval; None without votes.

    Without a bias it is one half: `favoured` may say that the vote went to the left side, or to the longer reply.
    """
    if not favoured.size:
        return None
    return clustered_mean(favoured.astype(np.float64), rater, context, rng)


@dataclass(frozen=True)
class SameSystem:
    """The test of A/A pairs: two replies of one system, whose names a and b mean nothing, so neither may win.

    `share` is a's share of the points, and `p` how often chance alone departs as far from one half.
    """

    votes: int
    items: int
    share: float
    p: float


def same_system_test(
    points_of_a: Floats, item: npt.NDArray[np.generic], rng: np.random.Generator, flips: int = FLIPS
) -> SameSystem | None:
    """Return the test of A/A votes [N] on items [N]; None without votes.

    The names are exchanged at random, for all votes on an item together: one of two replies may well be the better, and
    then its votes agree. So the test holds its level exactly, which one over single votes does not.

    Paper: Fisher 1935, "The Design of Experiments" (randomization test); Phipson and Smyth 2010, "Permutation p-values
    should never be zero".
    """
    if not points_of_a.size:
        return None
    leads = np.bincount(number_clusters(item), points_of_a - 0.5)
    signs = rng.integers(0, 2, (flips, leads.size), dtype=np.int8) * np.int8(2) - np.int8(1)
    # Leads are multiples of a half, so these sums are exact and equal ones compare as equal.
    as_far = int((np.abs(signs @ leads) >= abs(leads.sum())).sum())
    return SameSystem(
        votes=int(points_of_a.size),
        items=int(leads.size),
        share=float(points_of_a.mean()),
        p=(as_far + 1) / (flips + 1),
    )
