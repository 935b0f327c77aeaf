"""Metrics of replies against numbers worked out by hand."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU

from training.evaluation import metrics

# 7 tokens; 3 different (1 2 3); bigrams 12 21 12 13, different: 12 21 13
REPLIES = [[1, 2, 1, 2], [1, 3], [3]]


@pytest.mark.parametrize(("n", "expected"), [(1, 3 / 7), (2, 3 / 7), (3, 2 / 7), (4, 1 / 7), (5, 0.0)])
def test_distinct_n(n: int, expected: float) -> None:
    assert metrics.distinct_n(REPLIES, n) == expected


def test_distinct_n_on_equal_token_counts() -> None:
    # The first five tokens: 1 2 1 2 | 1. Different unigrams 2, different bigrams 12 21.
    assert metrics.distinct_n(REPLIES, 1, limit_tokens=5) == 2 / 5
    assert metrics.distinct_n(REPLIES, 2, limit_tokens=5) == 2 / 5
    assert metrics.distinct_n(REPLIES, 2, limit_tokens=7) == metrics.distinct_n(REPLIES, 2)


@pytest.mark.parametrize("limit", [0, 8])
def test_distinct_n_refuses_a_limit_that_the_replies_do_not_reach(limit: int) -> None:
    with pytest.raises(ValueError, match=f"{limit} tokens asked for, the replies hold 7"):
        metrics.distinct_n(REPLIES, 1, limit_tokens=limit)


def test_distinct_n_of_words_and_of_arrays() -> None:
    assert metrics.distinct_n([["a", "b", "a"], ["b"]], 1) == 2 / 4
    assert metrics.distinct_n([np.array(reply, np.uint16) for reply in REPLIES], 2) == 3 / 7


def test_entropy_n() -> None:
    # Bigrams 12 twice, 21, 13: probabilities 1/2, 1/4, 1/4: 1/2 ln 2 + 2 * 1/4 ln 4 = 1.5 ln 2
    assert metrics.entropy_n(REPLIES, 2) == pytest.approx(1.5 * math.log(2))
    assert metrics.entropy_n([[1, 2, 3, 4, 5]]) == pytest.approx(math.log(2))  # two different 4-grams
    assert metrics.entropy_n([[1, 2, 3]]) == 0.0  # too short for a 4-gram
    assert metrics.entropy_n(REPLIES, 1, limit_tokens=4) == pytest.approx(math.log(2))


def test_reply_shares() -> None:
    replies = ["yes", "no", "yes", "why", "yes", "no"]
    assert metrics.top_reply_share(replies) == 3 / 6
    assert metrics.top_reply_share(replies, k=2) == 5 / 6
    assert metrics.top_reply_share(replies, k=10) == 1.0
    assert metrics.distinct_reply_share(replies) == 3 / 6
    arrays = [np.array([1, 2]), np.array([1, 2], np.uint16), np.array([1])]
    assert metrics.top_reply_share(arrays) == 2 / 3
    assert metrics.distinct_reply_share([[1, 2], np.array([1, 2])]) == 1 / 2


def test_mean_length() -> None:
    assert metrics.mean_length(REPLIES) == 7 / 3
    assert metrics.mean_length([[], [1]]) == 0.5


def test_repeated_ngram_share() -> None:
    # Trigrams 121 212 121 212: the last two stood before. The second reply has one of its own, 121: not a repeat.
    assert metrics.repeated_ngram_share([[1, 2, 1, 2, 1, 2], [1, 2, 1]]) == 2 / 5
    assert metrics.repeated_ngram_share([[7, 7, 7]], n=1) == 2 / 3
    assert metrics.repeated_ngram_share([[1, 2]]) == 0.0


def test_copy_rate() -> None:
    # Bigrams 12 23 | 34 | none: 12 and 34 stand in their own context, 23 does not.
    replies, contexts = [[1, 2, 3], [3, 4], [5]], [[0, 1, 2, 9, 3], [3, 4], [5]]
    assert metrics.copy_rate(replies, contexts=contexts) == 2 / 3
    assert metrics.copy_rate(replies, contexts=contexts, n=1) == 6 / 6
    assert metrics.copy_rate(replies, contexts=[[3, 4], [1, 2, 3], []]) == 0.0
    assert metrics.copy_rate([[1, 2, 1, 2]], contexts=[np.array([1, 2], np.uint16)]) == 2 / 3
    assert metrics.copy_rate([[1]], contexts=[[1]]) == 0.0
    with pytest.raises(ValueError, match="1 contexts for 3 replies"):
        metrics.copy_rate(replies, contexts=[[1]])


def test_self_bleu() -> None:
    # 1 2 3 against 1 2 4: unigrams 2/3, bigrams 1/2, same length: sqrt(1/3), both ways
    assert metrics.self_bleu([[1, 2, 3], [1, 2, 4]], 2) == pytest.approx(math.sqrt(1 / 3))
    # 1 against 1 2: too short for bigrams, e^(1 - 2); 1 2 against 1: 1/2 and .1 / 1 for the bigram: sqrt(.05)
    assert metrics.self_bleu([[1], [1, 2]], 2) == pytest.approx((math.exp(-1) + math.sqrt(0.05)) / 2)
    assert metrics.self_bleu([[1, 2], [3, 4], [5, 6]]) == 0.0
    assert metrics.self_bleu([[1, 2, 3, 4, 5]] * 9) == pytest.approx(1.0)
    assert metrics.self_bleu([[], []]) == 1.0
    assert metrics.self_bleu([[], [1]]) == 0.0
    # The most that one reference holds counts: 1 1 has both its tokens in 1 1 2 only
    assert metrics.self_bleu([[1, 1], [1, 1, 2]], 1) == pytest.approx((math.exp(-1 / 2) + 2 / 3) / 2)
    with pytest.raises(ValueError, match="1 replies"):
        metrics.self_bleu([[1]])


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=7), min_size=2, max_size=6), st.integers(1, 4))
def test_self_bleu_is_that_of_sacrebleu(replies: list[list[int]], n: int) -> None:
    judge = BLEU(max_ngram_order=n, smooth_method="floor", smooth_value=0.1, effective_order=True, tokenize="none")
    texts = [" ".join(map(str, reply)) for reply in replies]
    scores = [judge.sentence_score(text, texts[:i] + texts[i + 1 :]).score for i, text in enumerate(texts)]
    assert metrics.self_bleu(replies, n) == pytest.approx(sum(scores) / len(scores) / 100)


def test_self_bleu_of_a_sample_is_near_that_of_all() -> None:
    rng = np.random.default_rng(0)
    replies = [rng.integers(0, 12, rng.integers(3, 9)).tolist() for _ in range(400)]
    whole = metrics.self_bleu(replies, 2, hypotheses=400, references=200)
    assert metrics.self_bleu(replies, 2, seed=1) == pytest.approx(whole, abs=0.03)
    assert metrics.self_bleu(replies, 2, seed=1) == metrics.self_bleu(replies, 2, seed=1)
    assert metrics.self_bleu(replies, 2, references=20) < whole


def test_discriminator_accuracy() -> None:
    assert metrics.discriminator_accuracy([2.0, -1.0], [-3.0, -0.5, 0.5, -2.0]) == (1 / 2 + 3 / 4) / 2
    assert metrics.discriminator_accuracy([0.0, 0.0], [0.0]) == 0.5
    assert metrics.discriminator_accuracy(np.ones(90, np.float32), np.ones(10, np.float32)) == 0.5
    with pytest.raises(ValueError, match="0 real and 1 fake"):
        metrics.discriminator_accuracy([], [1.0])


def test_perplexity() -> None:
    assert metrics.perplexity(-2 * math.log(8), 2) == pytest.approx(8)
    assert metrics.perplexity(0.0, 3) == 1.0
    assert metrics.perplexity(-1e6, 2) == math.inf
    assert math.isnan(metrics.perplexity(math.nan, 2))
    with pytest.raises(ValueError, match="at least one token"):
        metrics.perplexity(0.0, 0)


@pytest.mark.parametrize(
    "measure",
    [
        lambda replies: metrics.distinct_n(replies, 1),
        metrics.entropy_n,
        metrics.top_reply_share,
        metrics.distinct_reply_share,
        metrics.mean_length,
        metrics.repeated_ngram_share,
    ],
)
def test_no_replies_are_an_error(measure: Callable[[Any], float]) -> None:
    with pytest.raises(ValueError, match="no replies"):
        measure([])


def test_empty_replies_have_no_diversity() -> None:
    assert metrics.distinct_n([[], []], 1) == 0.0
    assert metrics.top_reply_share([[], []]) == 1.0


def test_zero_grams_do_not_exist() -> None:
    with pytest.raises(ValueError, match="0-grams"):
        metrics.distinct_n(REPLIES, 0)


@given(st.lists(st.lists(st.integers(0, 3), max_size=6), min_size=1, max_size=8), st.integers(1, 4))
def test_laws(replies: list[list[int]], n: int) -> None:
    assert 0 <= metrics.distinct_n(replies, n) <= 1
    assert 0 <= metrics.repeated_ngram_share(replies, n) < 1
    assert metrics.entropy_n(replies, n) == pytest.approx(metrics.entropy_n(replies * 2, n))
    assert metrics.distinct_n(replies * 2, n) == pytest.approx(metrics.distinct_n(replies, n) / 2)
    assert 1 / len(replies) <= metrics.top_reply_share(replies) <= 1
    assert metrics.top_reply_share(replies, len(replies)) == 1
