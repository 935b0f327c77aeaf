"""Who is better than whom: strengths with intervals, and what is said of those that cannot be ranked.

`S` systems, `D` draws.

A number is given only where the votes determine it. The systems of the largest strongly connected component of the
table of points are compared with each other; one outside it is *unbeaten*, *winless* or *unconnected*. A system that
leaves the component in more than 2.5 % of the draws is *loose*: the prior alone would make an end of its interval.
The strength of a ranked system is its log-strength minus the mean of the ranked ones, and the interval covers that
number of the population of raters and contexts that the votes are a sample of.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from app.statistics.battles import Battles, Booleans, Floats, points_table
from app.statistics.clusters import DRAWS, LEVEL, combine
from app.statistics.resampling import drawn_tables, tables_of_drawn_battles
from app.statistics.strengths import PRIOR, fit_many, fit_strengths, in_largest_component, reaches

Standing = Literal["ranked", "loose", "unbeaten", "winless", "unconnected"]

LOOSE: Final = (1 - LEVEL) / 2
"""Share of the draws in which a system may leave the component before its interval means nothing."""


@dataclass(frozen=True)
class Ranked:
    """What is known of one system. Strength, ends and rank are None where the votes do not determine them."""

    standing: Standing
    strength: float | None = None
    low: float | None = None
    high: float | None = None
    rank: int | None = None


def rank_systems(
    battles: Battles, rng: np.random.Generator, *, prior: float = PRIOR, draws: int = DRAWS
) -> list[Ranked]:
    """Return what is known of each system, in their order.

    A rank is one more than the number of ranked systems whose interval lies wholly above: systems that the votes do not
    tell apart share it.
    """
    points = points_table(battles)
    main = in_largest_component(points) if battles.n_systems else np.zeros(0, np.bool_)
    if main.sum() < 2:
        main[:] = False
        return [Ranked(standing) for standing in _standings(points, main)]
    inside = np.flatnonzero(main)
    fought = battles.among(inside.tolist())
    by_rater = drawn_tables(fought, fought.rater, rng, draws)
    by_context = drawn_tables(fought, fought.context, rng, draws)
    by_battle = tables_of_drawn_battles(fought, rng, draws)
    leaves: Floats = np.maximum(*(1 - in_largest_component(tables).mean(axis=0) for tables in (by_rater, by_context)))
    firm: Booleans = np.asarray(leaves <= LOOSE)
    if firm.sum() < 2:
        firm[:] = False  # one alone has nobody to be compared with
    standings: list[Standing] = _standings(points, main)
    for place, system in enumerate(inside.tolist()):
        if not firm[place]:
            standings[system] = "loose"
    found = [Ranked(standing) for standing in standings]
    if not firm.any():
        return found

    def centred(strengths: Floats) -> Floats:
        return np.asarray(strengths[..., firm] - strengths[..., firm].mean(axis=-1, keepdims=True))

    strengths = centred(fit_strengths(points_table(fought), prior))
    spread = combine(
        *(centred(fit_many(tables, prior)) for tables in (by_rater, by_context, by_battle)),
        raters=int(fought.rater.max()) + 1,
        contexts=int(fought.context.max()) + 1,
    )
    reach = spread.reach()
    low, high = strengths - reach, strengths + reach
    for place, system in enumerate(inside[firm].tolist()):
        # One rater, or one context, says nothing about others: a strength, and no interval to rank by.
        bounded = bool(np.isfinite(reach[place]))
        found[system] = Ranked(
            standing="ranked",
            strength=float(strengths[place]),
            low=float(low[place]) if bounded else None,
            high=float(high[place]) if bounded else None,
            rank=1 + int((low > high[place]).sum()) if bounded else None,
        )
    return found


def _standings(points: Floats, main: Booleans) -> list[Standing]:
    """Return how each system stands to the component `main` [S]."""
    reached = reaches(points)
    above: Booleans = np.asarray(reached[:, main].any(axis=1))
    below: Booleans = np.asarray(reached[main, :].any(axis=0))
    if not main.any():
        # Nobody is ranked: what is said of a system is about all whom it met.
        above, below = np.asarray(points.sum(axis=1) > 0), np.asarray(points.sum(axis=0) > 0)
    standings: list[Standing] = []
    for system in range(len(points)):
        if main[system]:
            standings.append("ranked")
        elif above[system] and not below[system]:
            standings.append("unbeaten")
        elif below[system] and not above[system]:
            standings.append("winless")
        else:
            standings.append("unconnected")
    return standings
