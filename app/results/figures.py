"""Numbers as they stand in the JSON of an analysis: rounded, and null where there is none.

Six decimals are far more than any of them means, and few enough for the last bits of a sum not to show.
"""

import math
from typing import Any, Final

from app.statistics.clusters import Interval, Mean

_DECIMALS: Final = 6


def figure(number: float | None) -> float | None:
    """Return `number` rounded; None for None and for what is not finite."""
    if number is None or not math.isfinite(number):
        return None
    return round(number, _DECIMALS) + 0.0  # -0.0 becomes 0.0


def ends(interval: Interval | None) -> dict[str, float | None]:
    """Return an interval as `low` and `high`."""
    return (
        {"low": None, "high": None}
        if interval is None
        else {"low": figure(interval.low), "high": figure(interval.high)}
    )


def mean_with_ends(mean: Mean | None, name: str = "mean") -> dict[str, Any] | None:
    """Return a mean under `name`, with its interval and what it was made of."""
    if mean is None:
        return None
    return {
        name: figure(mean.mean),
        **ends(mean.interval()),
        "judgements": mean.judgements,
        "raters": mean.raters,
        "contexts": mean.contexts,
    }
