"""The rules for raters: pass, fail, and unknown."""

import pytest

from app.statistics.quality import Conduct, Rules, Verdict, failed, judge_rater


def outcomes(conduct: Conduct, rules: Rules | None = None) -> dict[str, str]:
    return {verdict.check: verdict.outcome for verdict in judge_rater(conduct, rules or Rules())}


def test_too_few_cases_are_unknown_and_exclude_nobody() -> None:
    few = Conduct(gold=7, repeats=7, timed=7, fast=7, left=7, answers={"choice": {"human": 7}})
    verdicts = judge_rater(few, Rules())
    assert {verdict.outcome for verdict in verdicts} == {"unknown"}
    assert failed(verdicts) is None
    assert failed(judge_rater(Conduct(), Rules())) is None


@pytest.mark.parametrize(
    ("check", "passing", "failing"),
    [
        ("gold", Conduct(gold=10, gold_right=7), Conduct(gold=10, gold_right=6)),
        ("repeats", Conduct(repeats=8, repeats_agreeing=4), Conduct(repeats=8, repeats_agreeing=3)),
        ("dwell", Conduct(timed=10, fast=3), Conduct(timed=10, fast=4)),
        ("one_side", Conduct(left=1, right=9), Conduct(left=0, right=10)),
        ("one_value", Conduct(answers={"fluent": {"3": 19, "4": 1}}), Conduct(answers={"fluent": {"3": 20}})),
    ],
)
def test_each_rule_at_its_limit(check: str, passing: Conduct, failing: Conduct) -> None:
    assert outcomes(passing)[check] == "pass"
    assert outcomes(failing)[check] == "fail"
    verdict = failed(judge_rater(failing, Rules()))
    assert verdict is not None
    assert verdict.check == check


def test_a_rule_set_to_none_is_not_applied() -> None:
    off = Rules(
        min_gold_accuracy=None,
        max_fast_share=None,
        max_one_side_share=None,
        max_one_value_share=None,
        min_repeat_agreement=None,
    )
    assert judge_rater(Conduct(gold=100, left=100), off) == []


def test_a_verdict_says_what_it_saw_of_how_many() -> None:
    conduct = Conduct(
        gold=10, gold_right=9, repeats=8, repeats_agreeing=2, timed=16, fast=4, left=3, right=9,
        answers={"fluent": {"3": 6, "4": 4}, "choice": {}},
    )  # fmt: skip
    assert judge_rater(conduct, Rules()) == [
        Verdict("gold", "pass", 10, 0.9, 0.7),
        Verdict("repeats", "fail", 8, 0.25, 0.5),
        Verdict("dwell", "pass", 16, 0.25, 0.3),
        Verdict("one_side", "pass", 12, 0.75, 0.9),
        Verdict("one_value", "unknown", 0, None, 0.95, "choice"),
        Verdict("one_value", "pass", 10, 0.6, 0.95, "fluent"),
    ]


def test_as_many_cases_as_the_rules_ask_for_are_enough() -> None:
    conduct = Conduct(gold=3, repeats=3, timed=3, fast=3, left=3)
    for cases, outcome in ((3, "fail"), (4, "unknown")):
        assert set(outcomes(conduct, Rules(min_judgements=cases)).values()) == {outcome}
    # None at all are too few whatever the rules say.
    assert set(outcomes(Conduct(), Rules(min_judgements=0)).values()) == {"unknown"}
