"""Whether a rater's judgements count, by rules that the study stated before any data. Knows counts, no judgement.

Every check has three outcomes: too few cases are `unknown`, which excludes nobody and praises nobody. A rater who fails
one check is excluded by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["pass", "fail", "unknown"]
Check = Literal["gold", "repeats", "dwell", "one_side", "one_value"]


@dataclass(frozen=True)
class Rules:
    """When a rater fails; None switches a rule off. The fields are those of a study's protocol."""

    min_judgements: int = 8
    """Cases that a check must have seen before it passes or fails."""
    min_gold_accuracy: float | None = 0.7
    min_dwell_ms: int = 700
    """A judgement quicker than this is fast."""
    max_fast_share: float | None = 0.3
    max_one_side_share: float | None = 0.9
    """Of the decisive votes on pairs, the most that may fall on one side."""
    max_one_value_share: float | None = 0.95
    """Of the answers to one question that is not about sides, the most that may be the same."""
    min_repeat_agreement: float | None = 0.5


@dataclass(frozen=True)
class Conduct:
    """What one rater did, counted."""

    gold: int = 0
    gold_right: int = 0
    repeats: int = 0
    repeats_agreeing: int = 0
    timed: int = 0
    fast: int = 0
    left: int = 0
    """Decisive votes on pairs for what stood on the left."""
    right: int = 0
    answers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """How often each value was given, for each question: a dimension's name, or "choice"."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of one check: the share that was looked at, and of how many cases."""

    check: Check
    outcome: Outcome
    cases: int
    share: float | None
    limit: float
    question: str | None = None


def judge_rater(conduct: Conduct, rules: Rules) -> list[Verdict]:
    """Return the outcome of every rule that is switched on."""
    verdicts = []
    if rules.min_gold_accuracy is not None:
        verdicts.append(_at_least("gold", conduct.gold_right, conduct.gold, rules.min_gold_accuracy, rules))
    if rules.min_repeat_agreement is not None:
        agreed = conduct.repeats_agreeing
        verdicts.append(_at_least("repeats", agreed, conduct.repeats, rules.min_repeat_agreement, rules))
    if rules.max_fast_share is not None:
        verdicts.append(_at_most("dwell", conduct.fast, conduct.timed, rules.max_fast_share, rules))
    if rules.max_one_side_share is not None:
        decisive = conduct.left + conduct.right
        most = max(conduct.left, conduct.right)
        verdicts.append(_at_most("one_side", most, decisive, rules.max_one_side_share, rules))
    if rules.max_one_value_share is not None:
        for question, values in sorted(conduct.answers.items()):
            most, cases = max(values.values(), default=0), sum(values.values())
            verdicts.append(_at_most("one_value", most, cases, rules.max_one_value_share, rules, question))
    return verdicts


def failed(verdicts: list[Verdict]) -> Verdict | None:
    """Return the check that excludes the rater: the first failed one; None when there is none."""
    return next((verdict for verdict in verdicts if verdict.outcome == "fail"), None)


def _at_least(check: Check, good: int, cases: int, limit: float, rules: Rules) -> Verdict:
    share = good / cases if cases else None
    outcome: Outcome = "unknown"
    if cases >= rules.min_judgements and share is not None:
        outcome = "pass" if share >= limit else "fail"
    return Verdict(check, outcome, cases, share, limit)


def _at_most(check: Check, bad: int, cases: int, limit: float, rules: Rules, question: str | None = None) -> Verdict:
    share = bad / cases if cases else None
    outcome: Outcome = "unknown"
    if cases >= rules.min_judgements and share is not None:
        outcome = "pass" if share <= limit else "fail"
    return Verdict(check, outcome, cases, share, limit, question)
