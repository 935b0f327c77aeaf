"""Bradley-Terry strengths from a table of points, and when such strengths exist. Knows no rater, context or interval.

`S` systems, `D` draws. A table of points [S, S] holds what the system of the row won from that of the column, half a
point for a tie. Strengths are natural logarithms: a difference d means that the stronger wins 1 / (1 + exp(-d)) of the
points. Only differences have a meaning, so the mean of the strengths is put at 0.

Papers: Bradley and Terry 1952, "Rank Analysis of Incomplete Block Designs"; Ford 1957, "Solution of a Ranking Problem
from Binary Comparisons" (strengths exist if and only if the graph of points is strongly connected).
"""

from typing import Final

import numpy as np

from app.statistics.battles import Booleans, Floats

PRIOR: Final = 1.0
"""Pseudo-ties of each system with a virtual average player: they bound what a few one-sided votes can say."""

_STEPS: Final = 100
_CLOSE: Final = 1e-10


def fit_strengths(points: Floats, prior: float = PRIOR) -> Floats:
    """Return the strengths [S] that fit `points` [S, S] with the prior.

    Without the prior, strengths exist for a strongly connected table only; there `evalica` answers 1e-06 for everybody.
    Raises ValueError when they do not exist.
    """
    import evalica  # brings pandas along, which the service need not wait for when it starts

    n = len(points)
    if not n:
        return np.zeros(0)
    if prior <= 0 and not is_strongly_connected(points):
        raise ValueError("without a prior there are no strengths: the table of points is not strongly connected")
    winners, losers = np.nonzero(points)
    # The virtual player is one more system, number n, whose strength is free: so it is the average.
    firsts = [*winners.tolist(), *([n] * n if prior > 0 else [])]
    seconds = [*losers.tolist(), *(range(n) if prior > 0 else [])]
    outcomes = [evalica.Winner.X] * len(winners) + [evalica.Winner.Draw] * (len(firsts) - len(winners))
    weights = [*points[winners, losers].tolist(), *([prior] * (len(firsts) - len(winners)))]
    fitted = evalica.bradley_terry(
        firsts, seconds, outcomes, weights=weights, tie_weight=0.5, tolerance=1e-12, limit=100_000
    )
    strengths = np.log(np.array([float(fitted.scores[i]) for i in range(n)]))
    return np.asarray(strengths - strengths.mean(), np.float64)


def fit_many(points: Floats, prior: float = PRIOR) -> Floats:
    """Return the strengths [D, S] that fit each of the tables `points` [D, S, S] with the prior, as `fit_strengths`.

    All tables are fitted together by Newton's method; evalica takes half a millisecond for each.
    """
    if prior <= 0:
        raise ValueError("many tables are fitted with a prior only: some draws are not strongly connected")
    draws, n = points.shape[:2]
    met = points + points.swapaxes(1, 2)
    won = points.sum(axis=2) + prior / 2
    strengths = np.zeros((draws, n))
    open_ = np.arange(draws)
    diagonal = np.arange(n)
    for _ in range(_STEPS):
        if not open_.size:
            break
        here = strengths[open_]
        # The virtual average player stands at 0; the mean is taken off at the end.
        expected = 1 / (1 + np.exp(here[:, None, :] - here[:, :, None]))
        against_average = 1 / (1 + np.exp(-here))
        gradient = won[open_] - (met[open_] * expected).sum(axis=2) - prior * against_average
        curvature = -met[open_] * expected * (1 - expected)
        curvature[:, diagonal, diagonal] = 0
        curvature[:, diagonal, diagonal] = prior * against_average * (1 - against_average) - curvature.sum(axis=2)
        step = np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
        largest = np.abs(step).max(axis=1, initial=0.0)
        # A whole step from far away can overshoot; near the answer steps are short and taken whole.
        strengths[open_] = here + step * np.minimum(1, 1 / np.maximum(largest, _CLOSE))[:, None]
        open_ = open_[largest > _CLOSE]
    if open_.size:
        raise ValueError(f"{open_.size} of {draws} tables did not converge in {_STEPS} steps")
    return np.asarray(strengths - strengths.mean(axis=1, keepdims=True), np.float64)


def reaches(points: Floats) -> Booleans:
    """Say which system scores, by a chain of wins and ties, against which: [..., S, S] for `points` [..., S, S]."""
    n = points.shape[-1]
    reached = (points > 0) | np.eye(n, dtype=bool)
    length = 1
    while length < n:
        reached = (reached.astype(np.float32) @ reached.astype(np.float32)) > 0
        length *= 2
    return np.asarray(reached, np.bool_)


def is_strongly_connected(points: Floats) -> bool:
    """Say whether every system scores against every other by a chain of wins and ties: then strengths exist."""
    return bool(reaches(points).all())


def in_largest_component(points: Floats) -> Booleans:
    """Say which systems are in the largest strongly connected component: [..., S]; the first of those equally large."""
    reached = reaches(points)
    together = reached & reached.swapaxes(-1, -2)
    sizes = together.sum(axis=-1)
    chosen = sizes.argmax(axis=-1)
    return np.asarray(np.take_along_axis(together, chosen[..., None, None], axis=-2)[..., 0, :], np.bool_)
