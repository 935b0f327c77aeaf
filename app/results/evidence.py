"""Judgements as an analysis reads them, and what they say of their raters. Knows no SQL and no statistics."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from app.statistics.battles import POINTS_OF_A
from app.statistics.quality import Conduct, Rules, Verdict, failed, judge_rater


class Evidence(NamedTuple):
    """One live judgement of a study's item, with what belongs to it; b's fields are None where one reply is shown."""

    id: int
    kind: str
    dimension: str
    value: int | None
    choice: str | None
    side: str | None
    dwell_ms: int | None
    assignment: int
    rater: int
    item: int
    purpose: str
    gold: dict[str, Any] | None
    repeats: int | None
    context: int
    a: int
    """The system of response a."""
    b: int | None
    length_a: int
    length_b: int | None
    study: int


class SystemRow(NamedTuple):
    """A system by its id."""

    id: int
    name: str
    kind: str
    weights_sha256: str
    decoding: dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """A rater with every check's verdict."""

    rater: int
    verdicts: list[Verdict]

    @property
    def excluded_by(self) -> Verdict | None:
        """Return the check by which the rater is left out."""
        return failed(self.verdicts)


def judge_raters(evidence: Sequence[Evidence], rules: Rules) -> list[Judged]:
    """Return the verdicts on all who judged in one study, in the order of their first judgement."""
    by_rater: dict[int, list[Evidence]] = {}
    for one in evidence:
        by_rater.setdefault(one.rater, []).append(one)
    return [Judged(rater, judge_rater(conduct(own, rules), rules)) for rater, own in by_rater.items()]


def conduct(own: Sequence[Evidence], rules: Rules) -> Conduct:
    """Return what one rater did, counted over `own`, all of their live judgements in a study."""
    gold = [is_right(one) for one in own if one.gold is not None and _asks(one)]
    answers: Mapping[tuple[int, str], Evidence] = {(one.item, one.dimension): one for one in own}
    repeats = [
        _agrees(answers[one.repeats, one.dimension], one)
        for one in own
        if one.repeats is not None and (one.repeats, one.dimension) in answers
    ]
    dwells = {one.assignment: one.dwell_ms for one in own if one.dwell_ms is not None}
    decisive = [one for one in own if one.kind == "pair" and one.choice in ("a", "b")]
    values: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for one in own:
        if one.kind != "pair":  # what a rater of pairs repeats is a side, which has a rule of its own
            values[one.dimension or "choice"][str(one.value if one.choice is None else one.choice)] += 1
    left = sum(went_left(one) for one in decisive)
    return Conduct(
        gold=len(gold),
        gold_right=sum(gold),
        repeats=len(repeats),
        repeats_agreeing=sum(repeats),
        timed=len(dwells),
        fast=sum(dwell < rules.min_dwell_ms for dwell in dwells.values()),
        left=left,
        right=len(decisive) - left,
        answers=values,
    )


def is_right(one: Evidence) -> bool:
    """Say whether a judgement of a gold item is the answer that is known."""
    assert one.gold is not None
    if one.kind == "scale":
        assert one.value is not None  # by CHECK
        low, high = one.gold.get("low"), one.gold.get("high")
        return (1 if low is None else low) <= one.value <= (5 if high is None else high)
    return bool(one.choice == one.gold.get("choice"))


def went_left(one: Evidence) -> bool:
    """Say whether a decisive vote on a pair went to the reply on the left."""
    return (one.choice == "a") == (one.side == "left")


def battles_among(evidence: Sequence[Evidence], excluded: Collection[int]) -> list[Evidence]:
    """Return the votes on pairs of different systems that count: ordinary items, raters who are not excluded."""
    return [
        one
        for one in evidence
        if one.kind == "pair" and one.purpose == "normal" and one.a != one.b and one.rater not in excluded
    ]


def _asks(one: Evidence) -> bool:
    """Say whether a judgement is on the dimension that its gold item knows the answer of."""
    assert one.gold is not None
    return one.kind != "scale" or one.dimension == one.gold.get("dimension")


def _agrees(first: Evidence, again: Evidence) -> bool:
    if first.kind == "scale":
        assert first.value is not None
        assert again.value is not None
        return abs(first.value - again.value) <= 1  # nobody hits the same of five values every time
    if first.kind == "pair":
        return POINTS_OF_A[str(first.choice)] == POINTS_OF_A[str(again.choice)]
    return first.choice == again.choice
