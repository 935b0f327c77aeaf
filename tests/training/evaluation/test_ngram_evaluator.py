"""What the counting evaluator looks at, and that its loss is at its minimum."""

import numpy as np
import pytest

from chatbot.tokenizer import Tokenizer
from training.evaluation.ngram_evaluator import BUCKETS, extract, ngram_logits
from training.evaluation.pairs import Pair

TOKENIZER = Tokenizer.train([], 259)  # bytes only: a letter is a token


def test_features_by_hand() -> None:
    found = extract([Pair(("xx", "ab"), "ba"), Pair((), "")], TOKENIZER)
    first = found.rows == 0
    # With its ends: 4 tokens, 3 pairs and 2 triples, all different, and 2 by 2 pairs with the last turn
    assert first.sum() == 9 + 4
    assert np.sort(found.values[first]).tolist() == pytest.approx([1 / 3] * 9 + [1 / 2] * 4)
    # No reply: start, end and both, and nothing crossed
    assert found.values[~first].tolist() == pytest.approx([3**-0.5] * 3)
    assert found.columns.max() < BUCKETS
    # Two tokens; all of them in the last turn and in the context, but not as the pair ba
    assert found.dense.tolist() == [[pytest.approx(np.log(3)), 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1]]


def test_what_stands_in_earlier_turns_is_of_the_context_only() -> None:
    found = extract([Pair(("ab", "cd"), "ab")], TOKENIZER)
    assert found.dense.tolist() == [[pytest.approx(np.log(3)), 0, 1, 0, 1, 0]]


def test_equal_evidence_for_both_sides_is_no_evidence() -> None:
    same = [Pair(("a",), "b"), Pair(("c",), "d")]
    assert ngram_logits(same, same, same, TOKENIZER, 0) == pytest.approx(np.zeros(2), abs=1e-9)
    # A hundred times as many of one side change nothing: both sides weigh the same.
    assert ngram_logits(same * 100, same, same, TOKENIZER, 0) == pytest.approx(np.zeros(2), abs=1e-6)


def test_a_reply_is_judged_by_itself() -> None:
    human, machine = [Pair(("a",), "yes")] * 5, [Pair(("a",), "no")] * 5
    asked = [Pair(("a",), text) for text in ("yes", "no", "maybe")]
    together = ngram_logits(human, machine, asked, TOKENIZER, 0)
    alone = [ngram_logits(human, machine, [pair], TOKENIZER, 0)[0] for pair in asked]
    assert together == pytest.approx(np.array(alone))
    assert together[0] == pytest.approx(-together[1], rel=0.6)
    assert together[0] > 0 > together[1]


def test_a_side_without_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match="0 human and 1 machine"):
        ngram_logits([], [Pair((), "a")], [], TOKENIZER, 0)
