"""A study's judgements turned into its results. Pure: the same evidence, rules and seed give the same JSON bytes."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.results import battle_results
from app.results.evidence import Evidence, Judged, SystemRow, battles_among, judge_raters
from app.results.figures import ends, figure, mean_with_ends
from app.results.rules import quality_rules, stream
from app.statistics.agreement import krippendorff_alpha
from app.statistics.clusters import Mean, clustered_mean
from app.statistics.turing import against_chance, against_humans, pass_rate


@dataclass(frozen=True)
class StudyData:
    """All that the results of a study are made of. `systems` are those that its ordinary items show."""

    kind: str
    protocol: dict[str, Any]
    systems: Sequence[SystemRow]
    evidence: Sequence[Evidence]
    public_ids: Mapping[int, str]


@dataclass(frozen=True)
class Analysed:
    """The results as JSON, and the verdicts on the raters."""

    result: dict[str, Any]
    judged: list[Judged]


def analyse_study(data: StudyData, seed: int, rules: Mapping[str, Any]) -> Analysed:
    """Return the results of a study."""
    judged = judge_raters(data.evidence, quality_rules(data.protocol))
    excluded = {one.rater for one in judged if one.excluded_by is not None}
    kept = [one for one in data.evidence if one.rater not in excluded]
    ordinary = [one for one in kept if one.purpose == "normal"]
    by_kind: dict[str, Callable[[], dict[str, Any]]] = {
        "pair": lambda: _pairs(data, battles_among(data.evidence, excluded), kept, seed, rules),
        "scale": lambda: _scales(data.systems, ordinary, seed),
        "turing": lambda: _turing(data.systems, ordinary, seed, rules),
    }
    found = by_kind[data.kind]()
    warnings = list(found.pop("warnings"))
    if not ordinary:
        warnings.insert(0, "there is no judgement that counts yet")
    result = {
        "kind": data.kind,
        "measure": {"pair": "log-strength", "scale": "mean score", "turing": "pass rate"}[data.kind],
        "systems": found["systems"],
        "pairs": found.get("pairs", []),
        "agreement": _agreement(data.kind, ordinary, seed),
        "biases": found.get("biases", {}),
        "aa": found.get("aa"),
        "raters": rater_counts(judged),
        "excluded": excluded_raters(judged, data.public_ids),
        "warnings": warnings,
    }
    return Analysed(result, judged)


def describe(system: SystemRow) -> dict[str, Any]:
    """Return what tells a system from others."""
    return {
        "name": system.name,
        "kind": system.kind,
        "weights_sha256": system.weights_sha256 or None,
        "decoding": system.decoding,
    }


def rater_counts(judged: Sequence[Judged]) -> dict[str, Any]:
    """Return how many judged, how many are left out, and how every check came out."""
    checks: dict[str, Counter[str]] = {}
    for one in judged:
        for verdict in one.verdicts:
            checks.setdefault(verdict.check, Counter()).update([verdict.outcome])
    excluded = sum(one.excluded_by is not None for one in judged)
    return {
        "judged": len(judged),
        "excluded": excluded,
        "share_excluded": figure(excluded / len(judged)) if judged else None,
        "checks": {
            check: {outcome: outcomes[outcome] for outcome in ("pass", "fail", "unknown")}
            for check, outcomes in sorted(checks.items())
        },
    }


def excluded_raters(judged: Sequence[Judged], public_ids: Mapping[int, str]) -> list[dict[str, Any]]:
    """Return whom the rules leave out, and by which of them."""
    return [
        {
            "rater": public_ids[one.rater],
            "rule": verdict.check,
            "share": figure(verdict.share),
            "limit": verdict.limit,
            "cases": verdict.cases,
        }
        for one in judged
        if (verdict := one.excluded_by) is not None
    ]


def _pairs(
    data: StudyData, votes: Sequence[Evidence], kept: Sequence[Evidence], seed: int, rules: Mapping[str, Any]
) -> dict[str, Any]:
    names = [system.name for system in data.systems]
    battles = battle_results.as_battles(votes, [system.id for system in data.systems])
    found = battle_results.strengths(battles, seed, rules)
    aa = battle_results.same_system([one for one in kept if one.purpose == "aa"], seed)
    warnings = battle_results.unranked(found, names) if votes else []
    if aa is not None and aa["significant"]:
        warnings.append("A/A pairs differ more than chance allows: something other than the systems moves the votes")
    return {
        "systems": [{**describe(system), **one} for system, one in zip(data.systems, found, strict=True)],
        "pairs": battle_results.pairs(battles, names),
        "biases": battle_results.biases(votes, seed),
        "aa": aa,
        "warnings": warnings,
    }


def _scales(systems: Sequence[SystemRow], ordinary: Sequence[Evidence], seed: int) -> dict[str, Any]:
    dimensions = sorted({one.dimension for one in ordinary})
    found, overall = [], []
    for place, system in enumerate(systems):
        own = [one for one in ordinary if one.a == system.id]
        means = {
            dimension: mean_with_ends(
                _mean([one for one in own if one.dimension == dimension], _value, seed, place, number)
            )
            for number, dimension in enumerate(dimensions)
        }
        mean = _mean(own, _value, seed, place, len(dimensions))
        overall.append(mean)
        found.append({**describe(system), "dimensions": means})
    return {"systems": _with_ranks(found, overall), "warnings": _few(overall, systems)}


def _turing(
    systems: Sequence[SystemRow], ordinary: Sequence[Evidence], seed: int, rules: Mapping[str, Any]
) -> dict[str, Any]:
    margin = rules["equivalence_margin"]
    humans = {system.id for system in systems if system.kind == "human"}
    found, rates = [], []
    for place, system in enumerate(systems):
        own = [one for one in ordinary if one.a == system.id]
        rate = None
        more: dict[str, Any] = {"against_chance": None, "against_humans": None}
        if own:
            rate = pass_rate(*_taken(own), stream(seed, "systems", place))
            chance = against_chance(rate, margin)
            more["against_chance"] = {
                "difference": figure(chance.difference),
                **ends(chance.interval),
                "finding": chance.finding,
            }
        both = [one for one in ordinary if one.a == system.id or one.a in humans]
        if own and system.id not in humans and len(both) > len(own):
            taken, raters, contexts = _taken(both)
            is_human = np.array([one.a in humans for one in both], np.bool_)
            human = against_humans(taken, is_human, raters, contexts, stream(seed, "humans", place), margin)
            more["against_humans"] = {
                "difference": figure(human.difference),
                **ends(human.interval),
                "finding": human.finding,
            }
        rates.append(rate)
        found.append({**describe(system), **more})
    return {"systems": _with_ranks(found, rates), "warnings": _few(rates, systems)}


def _taken(own: Sequence[Evidence]) -> tuple[Any, Any, Any]:
    return (
        np.array([one.choice == "human" for one in own], np.bool_),
        np.array([one.rater for one in own], np.int64),
        np.array([one.context for one in own], np.int64),
    )


def _value(one: Evidence) -> float:
    assert one.value is not None  # by CHECK
    return float(one.value)


def _mean(own: Sequence[Evidence], value: Callable[[Evidence], float], seed: int, *place: int) -> Mean | None:
    if not own:
        return None
    return clustered_mean(
        [value(one) for one in own],
        np.array([one.rater for one in own], np.int64),
        np.array([one.context for one in own], np.int64),
        stream(seed, "systems", *place),
    )


def _with_ranks(found: Sequence[dict[str, Any]], means: Sequence[Mean | None]) -> list[dict[str, Any]]:
    """Return the systems with their means as strengths; a rank is one more than the number of those surely better."""
    intervals = [None if mean is None else mean.interval() for mean in means]
    lows = [interval.low for interval in intervals if interval is not None]
    return [
        {
            **one,
            "standing": "unconnected" if mean is None else "loose" if interval is None else "ranked",
            "strength": None if mean is None else figure(mean.mean),
            **ends(interval),
            "rank": None if interval is None else 1 + sum(low > interval.high for low in lows),
            "judgements": 0 if mean is None else mean.judgements,
        }
        for one, mean, interval in zip(found, means, intervals, strict=True)
    ]


def _few(means: Sequence[Mean | None], systems: Sequence[SystemRow]) -> list[str]:
    return [
        f"{system.name}: one rater or one context alone says nothing about others, so there is no interval"
        for mean, system in zip(means, systems, strict=True)
        if mean is not None and mean.interval() is None
    ]


def _agreement(kind: str, ordinary: Sequence[Evidence], seed: int) -> dict[str, Any]:
    """Return Krippendorff's alpha of each question."""
    found = {}
    questions = sorted({one.dimension for one in ordinary}) if kind == "scale" else [""]
    for number, question in enumerate(questions):
        own = [one for one in ordinary if one.dimension == question]
        values = [one.value if kind == "scale" else _answer(one) for one in own]
        agreement = krippendorff_alpha(
            np.array([one.item for one in own], np.int64),
            np.array(values),
            "ordinal" if kind == "scale" else "nominal",
            stream(seed, "agreement", number),
        )
        found[question or "choice"] = {
            "alpha": figure(agreement.alpha),
            **ends(agreement.interval),
            "items": agreement.units,
            "judgements": agreement.judgements,
            "reason": agreement.reason,
        }
    return found


def _answer(one: Evidence) -> str:
    """Return a choice; of two replies, "both bad" says as little about which is better as a tie does."""
    return "tie" if one.choice == "both_bad" else str(one.choice)
