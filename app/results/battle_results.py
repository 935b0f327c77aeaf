"""What votes on pairs say: systems by strength, pairs, biases, A/A. The same for one study and for all together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from app.results.evidence import Evidence, went_left
from app.results.figures import ends, figure, mean_with_ends
from app.results.rules import stream
from app.statistics.battles import POINTS_OF_A, Battles, number_clusters
from app.statistics.biases import same_system_test, share_with
from app.statistics.pairs import EFFECTS, pair_table
from app.statistics.ranking import rank_systems


def as_battles(votes: Sequence[Evidence], systems: Sequence[int]) -> Battles:
    """Return votes on pairs as battles between `systems`, by their ids; their order numbers them."""
    number = {system: place for place, system in enumerate(systems)}
    return Battles(
        n_systems=len(systems),
        a=np.array([number[one.a] for one in votes], np.int64),
        b=np.array([number[one.b] for one in votes if one.b is not None], np.int64),
        points_of_a=np.array([POINTS_OF_A[str(one.choice)] for one in votes], np.float64),
        rater=number_clusters(np.array([one.rater for one in votes], np.int64)),
        context=number_clusters(np.array([one.context for one in votes], np.int64)),
    )


def strengths(battles: Battles, seed: int, rules: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what is known of each system, in their order."""
    ranked = rank_systems(battles, stream(seed, "systems"), prior=rules["prior_pseudo_ties"], draws=rules["draws"])
    counts = np.bincount(battles.a, minlength=battles.n_systems) + np.bincount(battles.b, minlength=battles.n_systems)
    points = np.bincount(battles.a, battles.points_of_a, battles.n_systems)
    points = points + np.bincount(battles.b, 1 - battles.points_of_a, battles.n_systems)
    return [
        {
            "standing": one.standing,
            "strength": figure(one.strength),
            "low": figure(one.low),
            "high": figure(one.high),
            "rank": one.rank,
            "judgements": int(counts[system]),
            "points": figure(float(points[system])),
        }
        for system, one in enumerate(ranked)
    ]


def pairs(battles: Battles, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return each pair of systems by itself; systems are told by their place in `systems` and by name."""
    return [
        {
            "a": one.a,
            "b": one.b,
            "name_a": names[one.a],
            "name_b": names[one.b],
            "wins": one.wins,
            "losses": one.losses,
            "ties": one.ties,
            "share": figure(one.share),
            **ends(one.interval),
            "p": figure(one.p),
            "missing": {f"{effect:.0%}": votes for effect, votes in zip(EFFECTS, one.missing, strict=True)},
        }
        for one in pair_table(battles)
    ]


def biases(votes: Sequence[Evidence], seed: int) -> dict[str, Any]:
    """Return the share of decisive votes that went to the left, and to the longer of two unequally long replies."""
    decisive = [one for one in votes if one.choice in ("a", "b")]
    unequal = [one for one in decisive if one.length_a != one.length_b]
    found = {}
    for name, chosen, favoured in (
        ("side", decisive, [went_left(one) for one in decisive]),
        ("length", unequal, [(one.choice == "a") == (one.length_a > (one.length_b or 0)) for one in unequal]),
    ):
        share = share_with(
            np.array(favoured, np.bool_),
            np.array([one.rater for one in chosen], np.int64),
            np.array([one.context for one in chosen], np.int64),
            stream(seed, name),
        )
        found[name] = mean_with_ends(share, {"side": "left", "length": "longer"}[name])
    return found


def same_system(votes: Sequence[Evidence], seed: int) -> dict[str, Any] | None:
    """Return the test of A/A pairs, in which nobody may win."""
    found = same_system_test(
        np.array([POINTS_OF_A[str(one.choice)] for one in votes], np.float64),
        np.array([one.item for one in votes], np.int64),
        stream(seed, "same_system"),
    )
    if found is None:
        return None
    return {
        "judgements": found.votes,
        "items": found.items,
        "share": figure(found.share),
        "p": figure(found.p),
        "significant": found.p <= 0.05,
    }


def unranked(found: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Return a sentence about each system that has no rank."""
    sentences: dict[str, str] = {
        "unbeaten": "never lost and never tied against those who are ranked, so how much better it is cannot be said",
        "winless": "never won and never tied against those who are ranked, so how much worse it is cannot be said",
        "unconnected": "was not compared, directly or through others, with those who are ranked",
        "loose": "hangs on so few votes that its interval would be a guess",
    }
    return [
        f"{name}: {sentences[one['standing']]}"
        for one, name in zip(found, names, strict=True)
        if one["standing"] in sentences
    ]
