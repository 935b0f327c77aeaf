"""Shares of independent votes: Wilson's interval, the binomial test, and how many votes a difference needs.

Votes by the same raters on the same contexts are not independent; where that matters, see `clusters`.
"""

import math
from typing import Final

from scipy import stats

from app.statistics.clusters import LEVEL, Interval

POWER: Final = 0.8


def wilson(successes: int, trials: int, level: float = LEVEL) -> Interval | None:
    """Return Wilson's score interval of a share; None without trials. Raises ValueError for impossible counts.

    Paper: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference".
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials}")
    if not trials:
        return None
    z = float(stats.norm.ppf((1 + level) / 2))
    share, weight = successes / trials, z * z / trials
    centre = (share + weight / 2) / (1 + weight)
    reach = z / (1 + weight) * math.sqrt(share * (1 - share) / trials + weight / (4 * trials))
    # Rounding must not push the ends past what is possible: at 0 and 1 they are exact.
    return Interval(0.0 if not successes else centre - reach, 1.0 if successes == trials else centre + reach)


def binomial_p(successes: int, trials: int) -> float | None:
    """Return the two-sided exact p-value of a share against one half; None without trials."""
    return float(stats.binomtest(successes, trials).pvalue) if trials else None


def votes_needed(share: float, level: float = LEVEL, power: float = POWER) -> int:
    """Return how many decisive votes tell `share` from one half with the given power, by the normal approximation.

    Raises ValueError for one half itself, which no number of votes tells from itself.
    """
    if not 0 <= share <= 1 or share == 0.5:
        raise ValueError(f"a share of {share}: expected one from 0 to 1 that is not one half")
    two_sided, power_quantile = (float(stats.norm.ppf(at)) for at in ((1 + level) / 2, power))
    root = two_sided * 0.5 + power_quantile * math.sqrt(share * (1 - share))
    return math.ceil((root / (share - 0.5)) ** 2)
