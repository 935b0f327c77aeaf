"""What judgements say of their raters, counted by hand."""

from typing import Any

from app.results.evidence import Evidence, battles_among, conduct, judge_raters
from app.statistics.quality import Rules


def judgement(number: int, **more: Any) -> Evidence:
    plain = Evidence(
        id=number,
        kind="pair",
        dimension="",
        value=None,
        choice="a",
        side="left",
        dwell_ms=2000,
        assignment=number,
        rater=1,
        item=number,
        purpose="normal",
        gold=None,
        repeats=None,
        context=number,
        a=1,
        b=2,
        length_a=10,
        length_b=20,
        study=1,
    )
    return plain._replace(**more)


def scale(number: int, dimension: str, value: int, **more: Any) -> Evidence:
    return judgement(
        number, kind="scale", dimension=dimension, value=value, choice=None, side=None, b=None, length_b=None, **more
    )


def test_sides_are_sides_and_not_replies() -> None:
    found = conduct(
        [
            judgement(1, choice="a", side="left"),
            judgement(2, choice="b", side="right"),
            judgement(3, choice="b", side="left"),
            judgement(4, choice="tie"),
            judgement(5, choice="both_bad"),
        ],
        Rules(),
    )
    assert (found.left, found.right) == (2, 1)
    assert found.answers == {}


def test_gold_of_pairs_and_scales() -> None:
    gold = {"purpose": "gold", "gold": {"choice": "a", "dimension": None, "low": None, "high": None}}
    pairs = conduct([judgement(i, choice=choice, **gold) for i, choice in enumerate(["a", "b", "tie"])], Rules())
    assert (pairs.gold, pairs.gold_right) == (3, 1)
    known = {"purpose": "gold", "gold": {"choice": None, "dimension": "fluent", "low": 4, "high": None}}
    scales = conduct(
        [
            scale(1, "fluent", 4, **known),
            scale(1, "sensible", 1, **known),  # nothing is known of that one
            scale(2, "fluent", 3, **known),
            scale(3, "fluent", 5, **known),
        ],
        Rules(),
    )
    assert (scales.gold, scales.gold_right) == (3, 2)


def test_repeats_agree_on_the_reply() -> None:
    found = conduct(
        [
            judgement(1, choice="a"),
            judgement(2, choice="tie"),
            judgement(3, choice="a"),
            judgement(11, choice="a", side="right", purpose="repeat", repeats=1),
            judgement(12, choice="both_bad", purpose="repeat", repeats=2),
            judgement(13, choice="b", purpose="repeat", repeats=3),
            judgement(14, choice="b", purpose="repeat", repeats=99),  # whose original was withdrawn
        ],
        Rules(),
    )
    assert (found.repeats, found.repeats_agreeing) == (3, 2)
    near = [scale(1, "fluent", 3), scale(11, "fluent", 4, purpose="repeat", repeats=1)]
    far = [scale(2, "fluent", 3), scale(12, "fluent", 5, purpose="repeat", repeats=2)]
    again = conduct(near + far, Rules())
    assert (again.repeats, again.repeats_agreeing) == (2, 1)


def test_time_is_counted_once_for_each_task() -> None:
    found = conduct(
        [
            scale(1, "fluent", 3, assignment=7, dwell_ms=10),
            scale(2, "sensible", 3, assignment=7, dwell_ms=10),
            scale(3, "fluent", 3, assignment=8, dwell_ms=700),
            scale(4, "fluent", 4, assignment=9, dwell_ms=None),
        ],
        Rules(min_dwell_ms=700),
    )
    assert (found.timed, found.fast) == (2, 1)
    assert found.answers == {"fluent": {"3": 2, "4": 1}, "sensible": {"3": 1}}


def test_raters_are_judged_apart_and_battles_leave_out_what_does_not_count() -> None:
    votes = [judgement(i, rater=1) for i in range(8)] + [
        judgement(i, rater=2, side="left" if i % 2 else "right") for i in range(10, 18)
    ]
    judged = judge_raters(votes, Rules())
    assert [(one.rater, one.excluded_by and one.excluded_by.check) for one in judged] == [(1, "one_side"), (2, None)]
    extra = [judgement(30, rater=2, purpose="gold"), judgement(31, rater=2, purpose="aa", b=1)]
    assert [one.rater for one in battles_among(votes + extra, {1})] == [2] * 8
