"""What the reading evaluator reads, and what it must not depend on."""

import numpy as np
import pytest
import torch

from chatbot.tokenizer import START, TURN, Tokenizer
from training.evaluation.pairs import Pair
from training.evaluation.transformer_evaluator import (
    CONTEXT_TOKENS,
    REPLY_TOKENS,
    Reader,
    _ask,
    _row,
    transformer_logits,
)

TOKENIZER = Tokenizer.train([], 259)  # bytes only: a letter is a token
A, B, C = (TOKENIZER.encode(letter)[0] for letter in "abc")


def reader() -> Reader:
    torch.manual_seed(1)
    made = Reader(TOKENIZER.vocabulary_size)
    torch.nn.init.normal_(made.verdict.weight)
    return made


def test_a_row_is_the_context_and_the_reply_with_what_they_share_marked() -> None:
    ids, parts = _row(Pair(("a", "b"), "bc"), TOKENIZER)
    assert ids == [A, TURN, B, TURN, START, B, C, TURN]
    assert parts == [0, 0, 2, 0, 1, 3, 1, 1]


def test_the_newest_of_the_context_and_the_first_of_the_reply_are_read() -> None:
    ids, parts = _row(Pair(("a" * 100, "b"), "c" * 100), TOKENIZER)
    assert ids == [A] * (CONTEXT_TOKENS - 3) + [TURN, B, TURN, START] + [C] * REPLY_TOKENS + [TURN]
    assert len(ids) == len(parts)


def test_a_fresh_reader_knows_nothing() -> None:
    assert _ask(Reader(TOKENIZER.vocabulary_size), [_row(Pair(("a",), "b"), TOKENIZER)]).tolist() == [0.0]


def test_a_logit_does_not_depend_on_what_else_is_asked() -> None:
    pairs = [Pair(("a" * i,), "bc" * (12 - i)) for i in range(12)]
    rows = [_row(pair, TOKENIZER) for pair in pairs]
    made = reader()
    alone = np.concatenate([_ask(made, [row]) for row in rows])
    assert _ask(made, rows) == pytest.approx(alone, abs=1e-5)
    assert np.std(alone) > 0.01


def test_the_context_matters() -> None:
    made = reader()
    one, other = (_ask(made, [_row(Pair((text,), "c"), TOKENIZER)])[0] for text in "ab")
    assert one != other


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="1 human and 2 machine"):
        transformer_logits([Pair((), "a")], [Pair((), "a")] * 2, [], TOKENIZER, 0)
