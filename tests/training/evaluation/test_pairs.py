"""Pairs, and what is taken out of the differences between human and machine ones."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.pairs import (
    Pair,
    han_share,
    length_match,
    matched_indices,
    mismatched,
    normalise,
    normalise_text,
)

LENGTHS = st.lists(st.integers(0, 4), max_size=12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", "hello world"),
        ("I don't know...", "i dont know"),
        ("I don’t know", "i dont know"),
        ("yes,no", "yes no"),
        ("5 + 5 = $10", "5 5 10"),
        ("STRASSE straße", "strasse strasse"),
        ("你好，世界！", "你好世界"),
        ("我 喜欢 NBA 。", "我喜欢nba"),
        ("ＡＢＣ１", "abc1"),
        ("great 👍🏽❤️", "great"),
        ("?!", ""),
    ],
)
def test_normalised_text_has_no_punctuation_and_no_case(text: str, expected: str) -> None:
    assert normalise_text(text) == expected


def test_turns_are_normalised_like_the_reply() -> None:
    assert normalise(Pair(("Hi!", "..."), "OK.")) == Pair(("hi", ""), "ok")


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise_text(text)
    assert normalise_text(once) == once


def test_han_share_counts_letters_only() -> None:
    assert han_share("你好, ok 1!") == 2 / 4
    assert han_share("123 !?") == 0.0


@given(LENGTHS, LENGTHS)
def test_matched_lengths_agree_and_nothing_more_could_be_kept(human: list[int], machine: list[int]) -> None:
    sides = [np.array(side, np.int64) for side in (human, machine)]
    kept = matched_indices(sides[0], sides[1], np.random.default_rng(0))
    counts = [Counter(side[chosen].tolist()) for side, chosen in zip(sides, kept, strict=True)]
    assert counts[0] == counts[1] == Counter(human) & Counter(machine)
    for chosen in kept:
        assert (np.diff(chosen) > 0).all()


def test_length_matching_counts_what_the_tokenizer_gives() -> None:
    human = [Pair((), text) for text in ("a", "b c", "d e", "f")]
    machine = [Pair((), text) for text in ("v w", "x", "y z z")]
    first, second = length_match(human, machine, str.split, np.random.default_rng(1))
    assert sorted(len(pair.reply.split()) for pair in first) == [1, 2]
    assert second == machine[:2]
    assert length_match(human, [Pair((), "q q q")], str.split, np.random.default_rng(1)) == ([], [])


@given(st.integers(2, 12), st.integers(0, 9))
def test_mismatched_replies_are_the_same_ones_and_none_where_it_belongs(count: int, seed: int) -> None:
    pairs = [Pair((f"c{i}",), f"r{i}") for i in range(count)]
    moved = mismatched(pairs, np.random.default_rng(seed))
    assert [pair.context for pair in moved] == [pair.context for pair in pairs]
    assert sorted(pair.reply for pair in moved) == sorted(pair.reply for pair in pairs)
    assert all(a.reply != b.reply for a, b in zip(pairs, moved, strict=True))


def test_one_pair_cannot_be_mismatched() -> None:
    with pytest.raises(ValueError, match="takes two"):
        mismatched([Pair((), "a")], np.random.default_rng(0))
