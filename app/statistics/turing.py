"""Human-or-machine: how often a system is taken for human, and whether it cannot be told from humans.

`N` judgements.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from app.statistics.battles import Booleans
from app.statistics.clusters import LEVEL, Interval, Mean, clustered_mean

MARGIN: Final = 0.1
"""Two rates closer than this count as the same, by default."""

Finding = Literal["different", "equivalent", "undecided"]
Labels = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Comparison:
    """A rate minus what it is compared with, with its 95 % interval.

    *equivalent*: the 90 % interval lies within the margin, which is two one-sided tests at 5 % (Schuirmann 1987).
    *different*: not that, and zero is outside the 95 % interval. *undecided*: neither; no difference was seen, and that
    there is none was not shown.
    """

    difference: float
    interval: Interval | None
    finding: Finding


def pass_rate(taken: Booleans, rater: Labels, context: Labels, rng: np.random.Generator) -> Mean:
    """Return the share of judgements [N] in which a reply was `taken` for human."""
    return clustered_mean(taken.astype(np.float64), rater, context, rng)


def against_chance(rate: Mean, margin: float = MARGIN) -> Comparison:
    """Return a pass rate compared with one half, what guessing gives where half the replies are human."""
    return _compare(rate.mean - 0.5, rate, margin)


def against_humans(
    taken: Booleans, human: Booleans, rater: Labels, context: Labels, rng: np.random.Generator, margin: float = MARGIN
) -> Comparison:
    """Return the pass rate of a system minus that of the `human` replies judged beside it: all [N].

    Raises ValueError where one of the two has no judgement.
    """
    if human.all() or not human.any():
        raise ValueError("a comparison with humans needs judgements of both")
    system_rate, human_rate = float(taken[~human].mean()), float(taken[human].mean())
    # What each judgement adds to the difference, to first order: the mean of these is 0, and its error is the
    # difference's, with raters and contexts that both have in common.
    adds = np.where(human, -(taken - human_rate) / human.mean(), (taken - system_rate) / (~human).mean())
    return _compare(system_rate - human_rate, clustered_mean(adds, rater, context, rng), margin)


def _compare(difference: float, spread: Mean, margin: float) -> Comparison:
    wide, narrow = spread.interval(LEVEL), spread.interval(2 * LEVEL - 1)
    if wide is None or narrow is None:
        return Comparison(difference, None, "undecided")
    reach, within = wide.high - spread.mean, narrow.high - spread.mean
    finding: Finding = "undecided"
    if abs(difference) + within < margin:
        finding = "equivalent"
    elif abs(difference) > reach:
        finding = "different"
    return Comparison(difference, Interval(difference - reach, difference + reach), finding)
