"""Fresh evaluators on questions whose answer is known, and what a verdict is made of."""

import importlib.resources
import json
from collections import Counter
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chatbot.tokenizer import Tokenizer
from training.evaluation.evaluators import Kind, area_under_curve, controls, judge, reliability_error
from training.evaluation.pairs import Pair, mismatched

KINDS: tuple[Kind, ...] = ("ngrams", "transformer")
SCORES = st.lists(st.integers(-3, 3), min_size=1, max_size=8)
TOPICS = 12


@cache
def tokenizer() -> Tokenizer:
    return Tokenizer.train([f"{pair.context[0]} {pair.reply}" for pair in topical(200, 0)], 400)


def topical(count: int, seed: int, extra: str = "") -> list[Pair]:
    """Make pairs in which a word of the context decides one of the reply, though they are never the same."""
    rng = np.random.default_rng(seed)
    words = ["sun", "rain", "tea", "milk", "dog", "cat", "red", "blue", "one", "two", "car", "bus"]
    answers = ["hot", "wet", "cup", "cow", "bark", "meow", "rose", "sea", "uno", "dos", "road", "stop"]
    fillers = ["well", "so", "oh", "hm"]
    return [
        Pair((f"what of {words[topic]}",), f"{fillers[rng.integers(4)]} {answers[topic]}{extra}")
        for topic in rng.integers(0, TOPICS, count)
    ]


@cache
def chitchat() -> tuple[list[Pair], Tokenizer]:
    """Return real pairs in random order, and a tokenizer learnt from them."""
    packaged = importlib.resources.files("chitchat_dataset").joinpath("dataset.json").read_text(encoding="utf-8")
    pairs = []
    for dialogue in list(json.loads(packaged).values())[:600]:
        turns = [" ".join(part["text"] for part in message) for message in dialogue["messages"]]
        pairs += [Pair((turns[i - 1],), turns[i]) for i in range(1, len(turns)) if turns[i].strip()]
    found = Tokenizer.train([pair.reply for pair in pairs], 1000)
    order = np.random.default_rng(0).permutation(len(pairs))
    return [pairs[i] for i in order], found


def test_area_under_curve_by_hand() -> None:
    # 1 > 0, 3 > 2, 3 > 0, but not 1 > 2
    assert area_under_curve([1, 3], [2, 0]) == 3 / 4
    assert area_under_curve([1], [1]) == 1 / 2
    assert area_under_curve([2, 2], [2, 1]) == (1 / 2 + 1 + 1 / 2 + 1) / 4
    with pytest.raises(ValueError, match="0 positive and 1 negative"):
        area_under_curve([], [1])


@given(SCORES, SCORES)
def test_area_under_curve_counts_pairs(positive: list[int], negative: list[int]) -> None:
    won = np.mean([(a > b) + 0.5 * (a == b) for a in positive for b in negative])
    assert area_under_curve(positive, negative) == pytest.approx(won)
    assert area_under_curve(positive, negative) + area_under_curve(negative, positive) == pytest.approx(1)


def test_reliability_error_by_hand() -> None:
    assert reliability_error(0.5, 0.5, 1, 1) == 0
    assert reliability_error(0.5, 0.5, 0.5, 0.5) == 0.25
    assert reliability_error(0.4, 0.6, 0.9, 0.7) == pytest.approx((0.1 + 0.1 + 0.1 + 0.3) / 4)


@pytest.mark.parametrize("kind", KINDS)
def test_obviously_different_replies_are_told_apart(kind: Kind) -> None:
    found = judge(
        kind, topical(400, 1), topical(400, 2, " indeed"), topical(200, 3), topical(150, 4, " indeed"),
        tokenizer=tokenizer(), seed=0,
    )  # fmt: skip
    assert found.accuracy > 0.95
    assert found.auc > 0.98
    assert found.adver_suc < 0.05
    assert (found.human_right.shape, found.machine_passed.shape) == ((200,), (150,))
    assert found.kept_human.tolist() == list(range(200))
    assert found.accuracy == pytest.approx((found.human_right.mean() + 1 - found.machine_passed.mean()) / 2)
    assert found.adver_suc == found.machine_passed.mean()


@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_that_does_not_fit_its_context_is_found(kind: Kind) -> None:
    rng = np.random.default_rng(0)
    train, test = topical(1200, 1), topical(400, 2)
    found = judge(kind, train, mismatched(train, rng), test, mismatched(test, rng), tokenizer=tokenizer(), seed=0)
    # One mismatched reply in twelve fits by chance: (1 + 11/12) / 2 is the best there is.
    assert found.accuracy > 0.85
    assert found.adver_suc < 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_human_replies_are_not_told_from_human_replies(kind: Kind) -> None:
    pairs, known = chitchat()
    first, second, third, fourth = (pairs[i * 1000 : (i + 1) * 1000] for i in range(4))
    found = judge(kind, first, second, third, fourth, tokenizer=known, seed=0)
    assert 0.45 < found.accuracy < 0.55
    assert 0.45 < found.adver_suc < 0.55


@pytest.mark.parametrize("kind", KINDS)
def test_a_verdict_is_the_same_for_the_same_seed(kind: Kind) -> None:
    sides = topical(60, 1), topical(60, 2, " so"), topical(40, 3), topical(40, 4, " so")
    state = torch.random.get_rng_state()
    one, two = (judge(kind, *sides, tokenizer=tokenizer(), seed=5) for _ in range(2))
    assert (one.accuracy, one.auc) == (two.accuracy, two.auc)
    assert np.array_equal(one.machine_passed, two.machine_passed)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("kind", KINDS)
def test_many_more_of_one_side_to_learn_from_change_nothing(kind: Kind) -> None:
    # Nothing tells them apart. Learnt from as they are, everything would be taken for the side that has more.
    pairs, known = chitchat()
    found = judge(kind, pairs[:2000], pairs[2000:2200], pairs[2300:2700], pairs[2700:3100], tokenizer=known, seed=0)
    assert 0.35 < found.adver_suc < 0.65
    assert found.auc == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("kind", KINDS)
def test_punctuation_and_case_are_no_help_when_they_are_taken_away(kind: Kind) -> None:
    sides = topical(300, 1), topical(300, 2, "."), topical(200, 3), topical(200, 4, ".")
    plain = judge(kind, *sides, tokenizer=tokenizer(), seed=0)
    normalised = judge(kind, *sides, tokenizer=tokenizer(), seed=0, variant="normalised")
    assert plain.accuracy > 0.95
    assert 0.4 < normalised.accuracy < 0.6


def test_length_is_no_help_when_lengths_agree() -> None:
    rng = np.random.default_rng(0)

    def side(count: int, longest: int) -> list[Pair]:
        return [Pair(("hello",), " ".join(rng.choice(["a", "b", "c"], rng.integers(1, longest)))) for _ in range(count)]

    sides = side(600, 4), side(600, 9), side(300, 4), side(300, 9)
    plain = judge("ngrams", *sides, tokenizer=tokenizer(), seed=0)
    matched = judge("ngrams", *sides, tokenizer=tokenizer(), seed=0, variant="length_matched")
    assert plain.accuracy > 0.7
    assert 0.4 < matched.accuracy < 0.6
    kept = [
        Counter(len(tokenizer().encode(asked[i].reply)) for i in indices)
        for asked, indices in ((sides[2], matched.kept_human), (sides[3], matched.kept_machine))
    ]
    assert kept[0] == kept[1]
    assert len(matched.human_right) == len(matched.kept_human) == len(matched.kept_machine) > 50


def test_lengths_that_never_meet_leave_nothing_to_judge() -> None:
    sides = topical(20, 1), [Pair(("hi",), "a " * 30)] * 20, topical(20, 3), [Pair(("hi",), "a " * 30)] * 20
    found = judge("ngrams", *sides, tokenizer=tokenizer(), seed=0, variant="length_matched")
    assert np.isnan([found.accuracy, found.auc, found.adver_suc]).all()
    assert len(found.human_right) == len(found.kept_machine) == 0


def test_an_evaluator_that_knows_nothing_tosses_a_coin() -> None:
    same = [Pair(("hi",), "yes")] * 400
    found = judge("transformer", same[:40], same[:40], same, same, tokenizer=tokenizer(), seed=0)
    assert found.auc == 0.5
    assert 0.4 < found.adver_suc < 0.6
    assert 0 < found.human_right.sum() < 400


@pytest.mark.parametrize("kind", KINDS)
def test_empty_replies_and_contexts_can_be_judged(kind: Kind) -> None:
    empty, full = [Pair((), "")] * 30, topical(30, 1)
    assert judge(kind, full, empty, full, empty, tokenizer=tokenizer(), seed=0).accuracy > 0.9
    assert judge(kind, empty, empty, empty, empty, tokenizer=tokenizer(), seed=0).auc == 0.5


def test_too_few_pairs_are_refused() -> None:
    one, some = topical(1, 1), topical(5, 1)
    with pytest.raises(ValueError, match=r"\[1, 5\] pairs to learn from"):
        judge("ngrams", one, some, some, some, tokenizer=tokenizer(), seed=0)
    with pytest.raises(ValueError, match=r"\[5, 0\] to be asked of"):
        judge("ngrams", some, some, some, [], tokenizer=tokenizer(), seed=0)


def test_controls() -> None:
    human_train, machine_train = topical(1200, 1), mismatched(topical(1200, 2, " so"), np.random.default_rng(1))
    human_test, machine_test = topical(600, 3), mismatched(topical(600, 4, " so"), np.random.default_rng(2))
    found = controls("ngrams", human_train, machine_train, human_test, machine_test, tokenizer=tokenizer(), seed=0)
    assert found.human_vs_human.accuracy == pytest.approx(0.5, abs=0.08)
    assert found.machine_vs_machine.accuracy == pytest.approx(0.5, abs=0.08)
    assert found.human_vs_random.accuracy > 0.85
    assert found.machine_vs_random.accuracy > 0.95  # the machine is given away by a word, whatever the context
    assert len(found.human_vs_human.human_right) == 300
    assert found.reliability_error < 0.1
    # A machine whose replies are human ones to other contexts is as good as random.
    lost = mismatched(human_train, np.random.default_rng(3)), mismatched(human_test, np.random.default_rng(4))
    random = controls("ngrams", human_train, lost[0], human_test, lost[1], tokenizer=tokenizer(), seed=0)
    assert random.machine_vs_random.accuracy == pytest.approx(0.5, abs=0.08)
