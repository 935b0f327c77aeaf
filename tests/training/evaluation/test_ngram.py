"""The Kneser-Ney model: expected numbers, laws, a second implementation by dictionaries, and real text."""

import importlib.resources
import json
import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.ngram import KneserNey

A, B, END, NEVER = 0, 1, 2, 3
REPLIES = [[A, A, END], [A, B, END]]


def test_bigram_by_hand() -> None:
    # Bigrams (^ = start):  ^a 2, aa 1, a$ 1, ab 1, b$ 1     once: 4, twice: 1     D2 = 4 / (4 + 2 * 1) = 2/3
    # Different tokens before each: a 2 (^ a), b 1 (a), $ 2 (a b); once: 1, twice: 2; D1 = 1 / (1 + 2 * 2) = 1/5
    # Unigrams: 5 in all, 3 types, so 1/5 * 3/5 = 0.12 goes to the uniform 1/4, 0.03 for each token:
    #   P(a) = 1.8/5 + 0.03 = 0.39     P(b) = 0.8/5 + 0.03 = 0.19     P($) = 0.39     P(never) = 0.03     sum 1
    # After ^: total 2, 1 type, passes 2/3 * 1/2 = 1/3 down.   After a: total 3, 3 types, passes 2/3 down.
    #   P(a|^) = (4/3) / 2 + 0.39 / 3 = 0.79666...     P(a|a) = (1/3) / 3 + 2/3 * 0.39 = 0.37111...
    #   P(b|a) = 1/9 + 2/3 * 0.19 = 0.23777...         P(never|a) = 2/3 * 0.03 = 0.02
    # After b: total 1, 1 type:  P($|b) = 1/3 + 2/3 * 0.39 = 0.59333...
    # After never: an unknown history passes everything down, so the unigrams.
    model = KneserNey.fit(REPLIES, vocabulary_size=4, order=2)
    assert model.discounts == pytest.approx((1 / 5, 2 / 3))
    assert model.next_probabilities([]) == pytest.approx([2 / 3 + 0.13, 0.19 / 3, 0.13, 0.01])
    assert model.next_probabilities([A]) == pytest.approx([1 / 9 + 0.26, 1 / 9 + 0.38 / 3, 1 / 9 + 0.26, 0.02])
    assert model.next_probabilities([B])[END] == pytest.approx(0.5933333333)
    assert model.next_probabilities([A, NEVER]) == pytest.approx([0.39, 0.19, 0.39, 0.03])
    expected = [0.7966666667, 0.2377777778, 0.5933333333]
    assert np.exp(model.log_probabilities([[A, B, END]])) == pytest.approx(expected)
    assert model.perplexity([[A, B, END]]) == pytest.approx(math.prod(expected) ** (-1 / 3))


def test_the_opening_of_a_reply_is_counted_as_it_occurs() -> None:
    # In a trigram model the bigram ^a never has a token before it. Counted by predecessors it would be 0 or 1;
    # counted as it occurs it is 3 of 4 openings. Bigrams then: ^a 3, ^b 1, a$ 1 (only ^ before it), b$ 1.
    # once: 3, twice: 0, D2 = 1: P(a|^) = (3 - 1) / 4 + 2/4 * P(a).
    # Unigrams by predecessors: a 1 (^), b 1 (^), $ 2 (a b); once: 2, twice: 1, D1 = 1/2; passes 1/2 * 3/4 = 3/8 down;
    # P(a) = 0.5/4 + 3/8 * 1/3 = 1/4, so P(a|^) = 5/8.
    model = KneserNey.fit([[A, END], [A, END], [A, END], [B, END]], vocabulary_size=3, order=3)
    assert model.next_probabilities([])[A] == pytest.approx(5 / 8)


def by_dictionaries(replies: Sequence[Sequence[int]], vocabulary_size: int, order: int, history: list[int]) -> float:
    """Return P(0 | history), counted the slow and plain way."""
    counts: dict[int, Counter[tuple[int, ...]]] = defaultdict(Counter)
    start = -1
    for reply in replies:
        row = [start, *reply]
        for i in range(1, len(row)):
            for n in range(1, min(order, i + 1) + 1):
                gram = tuple(row[i - n + 1 : i + 1])
                if n == order or (n > 1 and gram[0] == start):
                    counts[n][gram] += 1
    for n in range(order - 1, 0, -1):
        for gram in list(counts[n + 1]):
            counts[n][gram[1:]] += 1

    def probability(n: int) -> float:
        if n == 0:
            return 1 / vocabulary_size
        lower = probability(n - 1)
        row = [start, *history]
        before = tuple(row[len(row) - n + 1 :])
        after = {gram: count for gram, count in counts[n].items() if gram[:-1] == before}
        if n > len(row) + 1 or not after:
            return lower
        once, twice = (sum(count == c for count in counts[n].values()) for c in (1, 2))
        discount = once / (once + 2 * twice) if once else 0.5
        total = sum(after.values())
        kept = max(after.get((*before, 0), 0) - discount, 0) / total
        return kept + discount * len(after) / total * lower

    return probability(order)


corpora = st.lists(st.lists(st.integers(0, 4), max_size=7), min_size=1, max_size=8).filter(any)
sequences = st.lists(st.integers(0, 4), max_size=5)


@given(replies=corpora, history=sequences, order=st.integers(1, 4))
def test_agrees_with_a_second_implementation(replies: list[list[int]], history: list[int], order: int) -> None:
    model = KneserNey.fit(replies, vocabulary_size=5, order=order)
    assert model.next_probabilities(history)[0] == pytest.approx(by_dictionaries(replies, 5, order, history))


@given(replies=corpora, history=sequences, order=st.integers(1, 4), extra=st.integers(0, 3))
def test_probabilities_sum_to_one_and_none_is_zero(
    replies: list[list[int]], history: list[int], order: int, extra: int
) -> None:
    probabilities = KneserNey.fit(replies, vocabulary_size=5 + extra, order=order).next_probabilities(history)
    assert probabilities.shape == (5 + extra,)
    assert probabilities.sum() == pytest.approx(1)
    assert (probabilities > 0).all()


@given(replies=corpora, scored=st.lists(sequences, max_size=4), order=st.integers(1, 4))
def test_a_reply_is_scored_alone_and_left_to_right(
    replies: list[list[int]], scored: list[list[int]], order: int
) -> None:
    model = KneserNey.fit(replies, vocabulary_size=5, order=order)
    one_by_one = [
        math.log(model.next_probabilities(reply[:i])[token]) for reply in scored for i, token in enumerate(reply)
    ]
    assert model.log_probabilities(scored) == pytest.approx(one_by_one)


@given(replies=corpora, order=st.integers(1, 4), seed=st.integers(0, 99))
def test_the_order_of_the_replies_does_not_matter(replies: list[list[int]], order: int, seed: int) -> None:
    shuffled = [replies[i] for i in np.random.default_rng(seed).permutation(len(replies))]
    models = [KneserNey.fit(rows, vocabulary_size=5, order=order) for rows in (replies, shuffled)]
    assert models[0].next_probabilities([1]) == pytest.approx(models[1].next_probabilities([1]))


def test_seen_and_unseen_histories_at_a_real_size() -> None:
    generator = np.random.default_rng(0)
    size = 5_000
    replies = [generator.zipf(1.3, 12).clip(1, size) - 1 for _ in range(2_000)]
    model = KneserNey.fit(replies, size)
    for history in (replies[0][:4], replies[7][:1], generator.integers(0, size, 3), np.zeros(0, np.int64)):
        probabilities = model.next_probabilities(history)
        assert probabilities.sum() == pytest.approx(1)
        assert probabilities.min() > 0


def test_arrays_of_any_integer_type_are_taken() -> None:
    narrow = KneserNey.fit([np.array(reply, np.uint16) for reply in REPLIES], 60_000)
    wide = KneserNey.fit(REPLIES, 60_000)
    assert narrow.perplexity([np.array([A, 59_999, END], np.uint16)]) == wide.perplexity([[A, 59_999, END]])


def test_more_context_helps_on_real_text() -> None:
    packaged = importlib.resources.files("chitchat_dataset").joinpath("dataset.json").read_text(encoding="utf-8")
    texts = [
        message["text"].lower().split()
        for dialogue in list(json.loads(packaged).values())[:2_000]
        for sent in dialogue["messages"]
        for message in sent
    ]
    frequent = Counter(word for text in texts for word in text).most_common(1_998)
    ids = {word: i for i, (word, _) in enumerate(frequent, start=2)}  # 0 ends a reply, 1 is any other word
    replies = [[*(ids.get(word, 1) for word in text), 0] for text in texts]
    held_out, train = replies[: len(replies) // 10], replies[len(replies) // 10 :]
    unigram, bigram, trigram = (KneserNey.fit(train, 2_000, order).perplexity(held_out) for order in (1, 2, 3))
    assert trigram < bigram < unigram / 2
    assert trigram > 10


@pytest.mark.parametrize(
    ("replies", "vocabulary_size", "order", "message"),
    [
        ([[0, 5]], 5, 3, "token ids from 0 to 5 in a vocabulary of 5"),
        ([[0, -1]], 5, 3, "token ids from -1 to 0"),
        ([], 5, 3, "no tokens"),
        ([[], []], 5, 3, "no tokens"),
        ([[0]], 5, 0, "order 0"),
        ([[0]], 0, 3, "vocabulary size 0"),
        ([[0]], 65_536, 4, "63 bits"),
    ],
)
def test_refuses(replies: list[list[int]], vocabulary_size: int, order: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KneserNey.fit(replies, vocabulary_size, order)


def test_refuses_to_score_unknown_ids_and_nothing() -> None:
    model = KneserNey.fit(REPLIES, 4)
    with pytest.raises(ValueError, match="in a vocabulary of 4"):
        model.log_probabilities([[4]])
    assert model.log_probabilities([]).shape == (0,)
    with pytest.raises(ValueError, match="at least one token"):
        model.perplexity([])
