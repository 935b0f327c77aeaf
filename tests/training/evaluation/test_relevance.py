"""Ranks worked out by hand, and a matcher that has to learn what belongs together."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from training.evaluation.pairs import Pair, mismatched
from training.evaluation.relevance import Context, ContextMatcher, Relevance, bag_replies, hash_text, rank_contexts

CONTEXTS: list[Context] = [(f"context {i}",) for i in range(6)]
REPLIES = [f"reply {i}" for i in range(6)]
TOPICS = 40


def by_number(contexts: Sequence[Context], replies: Sequence[str]) -> NDArray[np.float64]:
    """Say that reply i fits contexts the more the greater their number."""
    return np.array([[float(context[0].split()[1]) for _ in replies] for context in contexts])


def topical(count: int, seed: int) -> list[Pair]:
    """Make pairs in which the word of the context decides that of the reply, though they are never the same."""
    rng = np.random.default_rng(seed)
    return [
        Pair(("hello", f"what of q{topic} {rng.integers(9)}"), f"{rng.integers(9)} well a{topic} is it")
        for topic in rng.integers(0, TOPICS, count)
    ]


def test_ranks_by_hand() -> None:
    found = rank_contexts(by_number, CONTEXTS, REPLIES, seed=0, candidates=6)
    assert found.ranks.tolist() == [6, 5, 4, 3, 2, 1]
    assert found.candidates.tolist() == [6] * 6
    assert found.mean_reciprocal_rank == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5 + 1 / 6) / 6)
    assert found.recall_at(1).tolist() == [False] * 5 + [True]
    assert found.recall_at(2).sum() == 2


def test_equal_scores_share_the_middle_rank() -> None:
    found = rank_contexts(lambda c, r: np.zeros((len(c), len(r))), CONTEXTS, REPLIES, seed=0, candidates=5)
    assert found.ranks.tolist() == [3.0] * 6


def test_the_same_context_is_no_rival_and_few_contexts_are_all_taken() -> None:
    contexts = [("context 9",), ("context 9",), ("context 1",)]
    found = rank_contexts(by_number, contexts, REPLIES[:3], seed=0)
    assert found.ranks.tolist() == [1, 1, 3]
    assert found.candidates.tolist() == [2, 2, 3]
    with pytest.raises(ValueError, match="3 contexts for 6 replies"):
        rank_contexts(by_number, contexts, REPLIES, seed=0)


def test_rivals_do_not_depend_on_the_replies() -> None:
    contexts = [(f"context {i}",) for i in range(200)]
    replies = [""] * 200
    one, other = (rank_contexts(by_number, contexts, texts, seed=3) for texts in (replies, list("ab") * 100))
    assert one.ranks.tolist() == other.ranks.tolist()
    # Context i has i worse ones: on average it stands at 1 + 49 (199 - i) / 199
    assert np.abs(one.ranks - (1 + 49 * (199 - np.arange(200)) / 199)).max() < 15


def test_a_blind_choice_among_fifty() -> None:
    ranks = Relevance(np.arange(1, 51).astype(float), np.full(50, 50))
    assert ranks.mean_reciprocal_rank == pytest.approx(0.09, abs=0.001)
    assert ranks.recall_at(10).mean() == 0.2


def test_bags_hold_words_and_pairs_once_case_aside() -> None:
    one, other, chinese, nothing = bag_replies(["Yes yes, YES", "yes , yes", "我喜欢", ""])
    # yes and the comma; (yes yes), (yes ,), (, yes)
    assert len(one) == 5
    assert set(other) < set(one)
    assert len(chinese) == 5
    assert len(nothing) == 0
    assert hash_text("123456789") == 0xCBF43926  # the check value published with CRC-32


def test_the_matcher_learns_what_belongs_together() -> None:
    matcher = ContextMatcher.fit(topical(2000, 1), seed=0)
    asked = topical(300, 2)
    ranks = matcher.ranks(asked)
    # Some of the 49 others ask for the same topic: the best that can be had is not 1.
    assert (1 / ranks).mean() > 0.7
    lost = matcher.ranks(mismatched(asked, np.random.default_rng(0)))
    assert (1 / lost).mean() < 0.2


def test_it_is_deterministic_and_leaves_the_random_state_alone() -> None:
    pairs = topical(200, 1)
    one, two = (
        ContextMatcher.fit(pairs, seed=4, epochs=1).scores([p.context for p in pairs[:3]], ["a1 b", ""])
        for _ in range(2)
    )
    assert one.shape == (3, 2)
    assert np.array_equal(one, two)
    assert np.isfinite(one).all()
    with pytest.raises(ValueError, match="takes two"):
        ContextMatcher.fit(pairs[:1], seed=0)
