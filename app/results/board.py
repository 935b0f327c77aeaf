"""The board over all studies and thumbs: systems by the votes on pairs, with what else is known of each beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.results import battle_results
from app.results.analysis import describe, rater_counts
from app.results.evidence import Evidence, Judged, SystemRow, battles_among, judge_raters
from app.results.figures import ends, figure
from app.results.rules import quality_rules
from app.statistics.proportions import wilson


@dataclass(frozen=True)
class BoardData:
    """All that the board is made of: the studies' protocols by their id, and thumbs up and down by system."""

    protocols: Mapping[int, dict[str, Any]]
    slugs: Mapping[int, str]
    evidence: Sequence[Evidence]
    thumbs: Mapping[int, tuple[int, int]]
    systems: Sequence[SystemRow]


def shown_systems(evidence: Sequence[Evidence], thumbs: Mapping[int, tuple[int, int]]) -> list[int]:
    """Return the ids of the systems that anybody judged in an ordinary item or by a thumb."""
    judged = {system for one in evidence if one.purpose == "normal" for system in (one.a, one.b) if system is not None}
    return sorted(judged | thumbs.keys())


def judge_all_raters(evidence: Sequence[Evidence], protocols: Mapping[int, dict[str, Any]]) -> dict[int, list[Judged]]:
    """Return the verdicts on the raters of each study, by that study's own rules."""
    return {
        study: judge_raters([one for one in evidence if one.study == study], quality_rules(protocol))
        for study, protocol in protocols.items()
    }


def excluded_by(verdicts: Mapping[int, Sequence[Judged]]) -> set[int]:
    """Return the raters whom any study's rules leave out; a rater belongs to one study."""
    return {one.rater for judged in verdicts.values() for one in judged if one.excluded_by is not None}


def analyse_board(data: BoardData, seed: int, rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return the board."""
    verdicts = judge_all_raters(data.evidence, data.protocols)
    votes = battles_among(data.evidence, excluded_by(verdicts))
    names = [system.name for system in data.systems]
    battles = battle_results.as_battles(votes, [system.id for system in data.systems])
    found = battle_results.strengths(battles, seed, rules)
    return {
        "kind": "board",
        "measure": "log-strength",
        "studies": [data.slugs[study] for study in sorted(data.protocols)],
        "systems": [
            {**describe(system), **one, "thumbs": _thumbs(data.thumbs.get(system.id, (0, 0)))}
            for system, one in zip(data.systems, found, strict=True)
        ],
        "pairs": [one for one in battle_results.pairs(battles, names) if one["wins"] + one["losses"] + one["ties"]],
        "biases": battle_results.biases(votes, seed),
        "raters": rater_counts([one for judged in verdicts.values() for one in judged]),
        "warnings": battle_results.unranked(
            [one for one in found if one["judgements"]],
            [name for name, one in zip(names, found, strict=True) if one["judgements"]],
        ),
    }


def _thumbs(counts: tuple[int, int]) -> dict[str, Any]:
    """Return thumbs as they are, with Wilson's interval: they come from whoever likes, so nothing is ranked by them."""
    up, down = counts
    return {
        "up": up,
        "down": down,
        "share": figure(up / (up + down)) if up + down else None,
        **ends(wilson(up, up + down)),
    }
