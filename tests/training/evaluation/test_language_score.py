"""Forward and reverse language model scores: end tokens counted, equal training tokens, and the signs they give."""

import math
import random

import numpy as np
import pytest

from chatbot.tokenizer import TURN
from training.evaluation.language_score import language_score, tokens_of
from training.evaluation.ngram import KneserNey

LEARNT = [[3, 4, 5], [3, 4], [5, 6]]


def test_it_is_the_models_own_log_probability_with_end_tokens() -> None:
    scored = [[3, 4], [], [6]]
    found = language_score(LEARNT, scored, 8)
    assert found.tokens.tolist() == [3, 1, 2]
    model = KneserNey.fit([[*reply, TURN] for reply in LEARNT], 8)
    expected = [model.log_probabilities([[*reply, TURN]]).sum() for reply in scored]
    assert found.log_probability == pytest.approx(expected)
    assert found.mean == pytest.approx(sum(expected) / 6)


def test_a_unigram_model_by_hand() -> None:
    # One reply, 3 and its end: two tokens seen once each, none twice, so the discount is 1 / (1 + 0) = 1: nothing is
    # kept, and all is passed down to the uniform distribution over 4.
    assert language_score([[3]], [[3]], 4, order=1).mean == pytest.approx(math.log(1 / 4))


def test_training_tokens_are_cut_to_the_number_asked_for() -> None:
    assert tokens_of(LEARNT) == 10
    # The first six tokens: 3 4 5 end, 3 4
    cut = language_score(LEARNT, [[3, 4]], 8, training_tokens=6)
    model = KneserNey.fit([[3, 4, 5, TURN], [3, 4]], 8)
    assert cut.log_probability == pytest.approx([model.log_probabilities([[3, 4, TURN]]).sum()])
    whole = language_score(LEARNT, [[3, 4]], 8, training_tokens=10)
    assert whole.log_probability == pytest.approx(language_score(LEARNT, [[3, 4]], 8).log_probability)


@pytest.mark.parametrize("tokens", [0, 11])
def test_more_tokens_than_there_are_cannot_be_asked_for(tokens: int) -> None:
    with pytest.raises(ValueError, match=f"{tokens} training tokens asked for, the replies hold 10"):
        language_score(LEARNT, [[3]], 8, training_tokens=tokens)


def test_nothing_cannot_be_scored_or_learnt_from() -> None:
    with pytest.raises(ValueError, match="no replies"):
        language_score(LEARNT, [], 8)
    with pytest.raises(ValueError, match="no tokens"):
        language_score([], [[3]], 8)


def test_a_dull_machine_is_fluent_but_covers_little_and_a_babbling_one_is_not_fluent() -> None:
    drawn = random.Random(0)
    frames = [[3, 4, a, 5, b] for a in range(10, 30) for b in range(30, 50)]
    human, held_out = drawn.sample(frames, 200), drawn.sample(frames, 100)
    dull = [frames[0]] * 200
    babble = [[drawn.randrange(3, 50) for _ in range(5)] for _ in range(200)]
    forward = {
        name: language_score(human, replies, 50).mean for name, replies in (("h", held_out), ("d", dull), ("b", babble))
    }
    reverse = {
        name: language_score(replies, held_out, 50).mean for name, replies in (("h", human), ("d", dull), ("b", babble))
    }
    assert forward["d"] > forward["h"] > forward["b"] + 0.5
    assert reverse["h"] > max(reverse["d"], reverse["b"]) + 0.5


def test_arrays_of_narrow_integers_are_taken() -> None:
    narrow = [np.array(reply, np.uint16) for reply in LEARNT]
    assert language_score(narrow, narrow, 8).mean == language_score(LEARNT, LEARNT, 8).mean
