"""The two likelihoods read together: a system is better only where it lies below everybody's curve.

A point is (NLL_gen, NLL_oracle) in nats per token, lower is better for both; a curve is what one model gives when its
temperature, its stopping epoch or its number of steps is varied. Either number alone can be had for nothing.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Point:
    """One model at one setting."""

    nll_gen: float
    """Of held-out real sequences under the generator: what it does not know."""
    nll_oracle: float
    """Of generated sequences under the oracle: what it makes up."""
    setting: str = ""


Curve = Sequence[Point]


def nll_oracle_at(curve: Curve, nll_gen: float) -> float:
    """Return NLL_oracle of `curve` at `nll_gen`, on straight lines between neighbouring points; nan outside of it.

    Neighbours are those of the curve's own order (of temperatures, say), so a curve that turns back may pass a value
    twice: the lower one counts.
    """
    found = [p.nll_oracle for p in curve if p.nll_gen == nll_gen]
    for one, other in itertools.pairwise(curve):
        low, high = sorted((one, other), key=lambda p: p.nll_gen)
        if low.nll_gen < nll_gen < high.nll_gen:
            share = (nll_gen - low.nll_gen) / (high.nll_gen - low.nll_gen)
            found.append(low.nll_oracle + share * (high.nll_oracle - low.nll_oracle))
    return min(found, default=math.nan)


def outside(curves: Sequence[Curve], point: Point) -> float:
    """Return by how much NLL_oracle of the best of `curves` at the point's NLL_gen is above the point's, in nats.

    Positive: the point lies outside the frontier. What a curve reaches at a lower NLL_gen counts as reached at the
    point's, too: it knows more of the language. Where no curve reaches the point's NLL_gen on the low side (the point
    knows more than any of them), the point of the frontier with the lowest NLL_gen is taken, which favours the
    frontier. nan where all curves end before the point's NLL_gen, and none has reached its NLL_oracle by then.
    """
    everyone = [p for curve in curves for p in curve]
    if not everyone:
        return math.nan
    passing = [value for curve in curves if not math.isnan(value := nll_oracle_at(curve, point.nll_gen))]
    knowing = [p.nll_oracle for p in everyone if p.nll_gen <= point.nll_gen]
    if not knowing:
        return min(everyone, key=lambda p: p.nll_gen).nll_oracle - point.nll_oracle
    gain = min(passing + knowing) - point.nll_oracle
    return gain if passing or gain <= 0 else math.nan


@dataclass(frozen=True)
class Spread:
    """Mean, standard deviation and 95 % interval (Student's t) over seeds."""

    mean: float
    deviation: float
    low: float
    high: float


_STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""The 97.5 % quantile of Student's t for that many seeds."""


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of one number for each seed; interval and deviation are nan for a single seed."""
    numbers = np.asarray(values, np.float64)
    mean = float(numbers.mean())
    if len(numbers) < 2:
        return Spread(mean, math.nan, math.nan, math.nan)
    deviation = float(numbers.std(ddof=1))
    margin = _STUDENT.get(len(numbers), 2.262) * deviation / math.sqrt(len(numbers))
    return Spread(mean, deviation, mean - margin, mean + margin)
