"""Each rule trips alone; a healthy model trips none; fixed limits give way to a start that is already beyond them."""

import math
from dataclasses import fields, replace

import pytest

from training.safeguards import Probe, alarms

HUMAN = 10.0
START = Probe(nll=4.0, distinct_1=0.2, distinct_2=0.6, top_reply_share=0.02, mean_length=9.5, entropy=3.0, kl=0.0)


def test_the_start_itself_is_healthy() -> None:
    assert alarms(START, START, HUMAN) == []


@pytest.mark.parametrize(
    "still_healthy",
    [
        {"distinct_2": 0.451},
        {"top_reply_share": 0.05},
        {"mean_length": 6.0},
        {"mean_length": 16.0},
        {"nll": 4.599},
        {"kl": 0.2},
        {"entropy": 1.5},
        {"distinct_1": 0.0},
        {"nll": 1.0, "entropy": 9.0, "distinct_2": 1.0},
    ],
)
def test_up_to_its_limit_a_measure_is_healthy(still_healthy: dict[str, float]) -> None:
    assert alarms(replace(START, **still_healthy), START, HUMAN) == []


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"distinct_2": 0.449}, "distinct-2 0.449, limit 0.450"),
        ({"top_reply_share": 0.051}, "top reply's share 0.051, limit 0.050"),
        ({"mean_length": 5.9}, "mean length 5.900, limit 6.000"),
        ({"mean_length": 16.1}, "mean length 16.100, limit 16.000"),
        ({"nll": 4.61}, "validation NLL 4.610, limit 4.600"),
        ({"kl": 0.21}, "KL per token 0.210, limit 0.200"),
        ({"entropy": 1.49}, "entropy 1.490, limit 1.500"),
    ],
)
def test_each_rule_alone_raises_its_alarm(broken: dict[str, float], words: str) -> None:
    assert alarms(replace(START, **broken), START, HUMAN) == [words]


def test_several_broken_rules_are_all_named() -> None:
    found = alarms(replace(START, distinct_2=0.1, kl=1.0), START, HUMAN)
    assert [line.split(" 0")[0].split(" 1")[0] for line in found] == ["distinct-2", "KL per token"]


@pytest.mark.parametrize("name", [field.name for field in fields(Probe) if field.name != "top_reply_share"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_measure_that_is_not_finite_is_an_alarm(name: str, value: float) -> None:
    assert alarms(replace(START, **{name: value}), START, HUMAN) == ["a measure is not finite"]


@pytest.mark.parametrize(
    ("start", "within", "beyond"),
    [
        ({"top_reply_share": 0.08}, {"top_reply_share": 0.119}, {"top_reply_share": 0.121}),
        ({"mean_length": 5.0}, {"mean_length": 4.6}, {"mean_length": 4.4}),
        ({"mean_length": 20.0}, {"mean_length": 21.9}, {"mean_length": 22.1}),
    ],
)
def test_fixed_limits_give_way_to_the_start(
    start: dict[str, float], within: dict[str, float], beyond: dict[str, float]
) -> None:
    begun = replace(START, **start)
    assert alarms(begun, begun, HUMAN) == []
    assert alarms(replace(begun, **within), begun, HUMAN) == []
    assert len(alarms(replace(begun, **beyond), begun, HUMAN)) == 1
