"""Each pair of systems by itself: votes, share with its interval, and how many votes are still missing."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from app.statistics.battles import Battles
from app.statistics.clusters import Interval
from app.statistics.proportions import binomial_p, votes_needed, wilson

EFFECTS: Final = (0.6, 0.55)
"""Shares of the decisive votes that one may want to tell from one half."""


@dataclass(frozen=True)
class Pair:
    """The votes between systems `a` < `b`. Share, interval and p-value are of the decisive votes for a, if any.

    `missing` says for each of `EFFECTS` how many more decisive votes tell it from one half.
    """

    a: int
    b: int
    wins: int
    losses: int
    ties: int
    share: float | None
    interval: Interval | None
    p: float | None
    missing: tuple[int, ...]


def pair_table(battles: Battles) -> list[Pair]:
    """Return all pairs of systems, those that never met included."""
    table = []
    for a in range(battles.n_systems):
        for b in range(a + 1, battles.n_systems):
            as_a = battles.points_of_a[(battles.a == a) & (battles.b == b)]
            as_b = 1 - battles.points_of_a[(battles.a == b) & (battles.b == a)]
            points = np.concatenate([as_a, as_b])
            wins, losses, ties = (int((points == value).sum()) for value in (1.0, 0.0, 0.5))
            decisive = wins + losses
            table.append(
                Pair(
                    a=a,
                    b=b,
                    wins=wins,
                    losses=losses,
                    ties=ties,
                    share=wins / decisive if decisive else None,
                    interval=wilson(wins, decisive),
                    p=binomial_p(wins, decisive),
                    missing=tuple(max(0, votes_needed(effect) - decisive) for effect in EFFECTS),
                )
            )
    return table
