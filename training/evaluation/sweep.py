"""Quality against diversity: a system is a curve over temperatures, and two systems are compared at equal diversity.

A colder system looks better by any judge of single replies and says less; so one number at one temperature proves
nothing (Caccia et al. 2020, "Language GANs Falling Short"). Knows curves in numbers; refuses to know how diversity and
quality were measured. Quality is always the greater the better.
D draws (the same random halves of the contexts for every system), S training seeds, P settings.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from training.evaluation.intervals import Interval, hypervolume, percentile_interval
from training.evaluation.sampling import Setting

Floats = npt.NDArray[np.float64]

MATCHED: Final = 5
"""Values of diversity at which two curves are compared."""
NEEDED: Final = 3
"""Of them must be better, with the interval off zero, for one system to beat another."""

Verdict = Literal["beats", "loses", "neither", "apart"]


@dataclass(frozen=True)
class Curve:
    """A system's sweep by one measure of quality."""

    system: str
    settings: tuple[Setting, ...]
    diversity: Floats
    """[D, S, P]"""
    quality: Floats
    """[D, S, P]"""
    whole: Floats
    """[S, P] quality over all contexts."""

    def __post_init__(self) -> None:
        """Raise ValueError when the shapes do not belong together."""
        if self.diversity.shape != self.quality.shape or self.quality.shape[1:] != self.whole.shape:
            raise ValueError(f"shapes {self.diversity.shape}, {self.quality.shape} and {self.whole.shape}")
        if self.whole.shape[1] != len(self.settings):
            raise ValueError(f"{len(self.settings)} settings for {self.whole.shape[1]} points")

    @property
    def points(self) -> tuple[Floats, Floats]:
        """Return the curve itself, diversity and quality over all seeds: both [P]."""
        return self.diversity.mean(axis=(0, 1)), self.whole.mean(axis=0)

    def resampled(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return the curve of each draw, both [D, P]: its half of the contexts, and seeds drawn with replacement."""
        draws, seeds, _ = self.quality.shape
        chosen = rng.integers(0, seeds, (draws, seeds))[:, :, None]
        diversity = np.take_along_axis(self.diversity, chosen, axis=1).mean(axis=1)
        return diversity, np.take_along_axis(self.quality, chosen, axis=1).mean(axis=1)


@dataclass(frozen=True)
class MatchedPoint:
    """Two systems at one value of diversity."""

    diversity: float
    system: float
    baseline: float
    difference: Interval
    """System minus baseline."""


@dataclass(frozen=True)
class Comparison:
    """Two systems over what diversity they share."""

    system: str
    baseline: str
    overlap: tuple[float, float] | None
    """Values of diversity that both curves reach; None where there are none."""
    points: tuple[MatchedPoint, ...]
    volume: Interval
    """Hypervolume of the system's curve minus that of the baseline's."""

    @property
    def better(self) -> int:
        """Return at how many points the whole interval is above zero."""
        return sum(point.difference.low > 0 for point in self.points)

    @property
    def worse(self) -> int:
        """Return at how many points the whole interval is below zero."""
        return sum(point.difference.high < 0 for point in self.points)

    @property
    def verdict(self) -> Verdict:
        """Return whether the system beats the baseline."""
        if self.overlap is None:
            return "apart"
        if self.better >= NEEDED:
            return "beats"
        return "loses" if self.worse >= NEEDED else "neither"


def compare(system: Curve, baseline: Curve, seed: int) -> Comparison:
    """Compare two curves, drawn over the same contexts, at five values of diversity spread over what they share.

    In every draw both curves are read at the same values; beyond its end a curve stays at its last point. Raises
    ValueError when the two have different numbers of draws.
    """
    if len(system.diversity) != len(baseline.diversity):
        raise ValueError(f"{len(system.diversity)} draws of {system.system}, {len(baseline.diversity)} of the baseline")
    (d1, q1), (d0, q0) = system.points, baseline.points
    volume = _volume(d1, q1) - _volume(d0, q0)
    rng = np.random.default_rng((seed, len(d1), len(d0)))
    (all_d1, all_q1), (all_d0, all_q0) = system.resampled(rng), baseline.resampled(rng)
    volumes = [
        _volume(*one) - _volume(*other)
        for one, other in zip(zip(all_d1, all_q1, strict=True), zip(all_d0, all_q0, strict=True), strict=True)
    ]
    low, high = max(d1.min(), d0.min()), min(d1.max(), d0.max())
    points: list[MatchedPoint] = []
    if low < high:
        at = low + (np.arange(MATCHED) + 0.5) / MATCHED * (high - low)
        differences = read_curves(all_d1, all_q1, at) - read_curves(all_d0, all_q0, at)
        ours, theirs = read_curve(d1, q1, at), read_curve(d0, q0, at)
        points = [
            MatchedPoint(float(d), float(a), float(b), percentile_interval(float(a - b), drawn))
            for d, a, b, drawn in zip(at, ours, theirs, differences.T, strict=True)
        ]
    return Comparison(
        system.system,
        baseline.system,
        (float(low), float(high)) if low < high else None,
        tuple(points),
        percentile_interval(volume, volumes),
    )


def read_curve(diversity: Floats, quality: Floats, at: Floats) -> Floats:
    """Return the quality at the values `at` of diversity, on straight lines between the points of a curve, both [P]."""
    order = np.argsort(diversity, kind="stable")
    return np.interp(at, diversity[order], quality[order])


def read_curves(diversity: Floats, quality: Floats, at: Floats) -> Floats:
    """Return `read_curve` of each of D curves [D, P]: [D, len(at)]."""
    return np.stack([read_curve(d, q, at) for d, q in zip(diversity, quality, strict=True)])


def _volume(diversity: Floats, quality: Floats) -> float:
    return hypervolume(np.stack([diversity, quality], axis=1))
