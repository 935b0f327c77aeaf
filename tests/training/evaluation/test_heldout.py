"""Held-out pairs as text: what was said, cut where the models are cut."""

from pathlib import Path

import pytest

from chatbot.tokenizer import TURN, Tokenizer
from training.corpus.dataset import PreparedDataset
from training.errors import RunError
from training.evaluation.heldout import held_out


def test_texts_are_those_of_the_corpus(corpus: Path) -> None:
    data = PreparedDataset.open(corpus)
    tokenizer = Tokenizer.load(data.tokenizer_path)
    split = data.split("test")
    held = held_out("test", split, tokenizer, 1000, context_tokens=64, reply_tokens=64)
    assert len(held) == len(split)
    assert all(len(context) == 1 and context[0].endswith("?") for context in held.contexts)
    assert all(reply.startswith("the ") and " says " in reply for reply in held.replies)
    first = held.context_ids(64)[0]
    assert first == [*tokenizer.encode(held.contexts[0][0]), TURN]
    assert held.pairs()[0].reply == held.replies[0]
    assert held.pairs(["x"] * len(held))[3].reply == "x"


def test_limits_cut_contexts_in_front_and_replies_behind(corpus: Path) -> None:
    data = PreparedDataset.open(corpus)
    tokenizer = Tokenizer.load(data.tokenizer_path)
    whole = held_out("test", data.split("test"), tokenizer, 4, context_tokens=64, reply_tokens=64)
    cut = held_out("test", data.split("test"), tokenizer, 4, context_tokens=3, reply_tokens=3)
    assert len(cut) == 4
    for long, short in zip(whole.pairs(), cut.pairs(), strict=True):
        assert long.context[0].endswith(short.context[0])
        assert long.reply.startswith(short.reply)
        assert len(short.reply) < len(long.reply)


def test_too_few_pairs_are_an_error(corpus: Path) -> None:
    data = PreparedDataset.open(corpus)
    tokenizer = Tokenizer.load(data.tokenizer_path)
    with pytest.raises(RunError, match=r"3 pairs of the test part.* expected at least 4"):
        held_out("test", data.split("test"), tokenizer, 3, context_tokens=8, reply_tokens=8)
