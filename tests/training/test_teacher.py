"""A large model's opinion of what a small one says, each with its own tokenizer."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from chatbot.bundle import Bundle, load_bundle
from chatbot.tokenizer import TURN, Tokenizer
from tests.training.toys import padded
from training.judges import mean_log_probability
from training.teacher import Teacher

GOLDEN = Path(__file__).parents[1] / "golden" / "recurrent"

CONTEXTS = [["hello", "how are you?"], ["hello", "how are you?"], ["do you like cats?"], ["no", "why not?"]]
TURNS = ["fine", "I don't know", "yes, I do!", "because"]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(GOLDEN)


@pytest.fixture(scope="module")
def other() -> Tokenizer:
    """Return a tokenizer that cuts the same texts otherwise."""
    return Tokenizer.train(iter([text for texts in CONTEXTS for text in texts] + TURNS), 280)


def contexts(tokenizer: Tokenizer) -> Tensor:
    return padded([[i for text in texts for i in [*tokenizer.encode(text), TURN]] for texts in CONTEXTS])


def turns(tokenizer: Tokenizer) -> Tensor:
    return padded([[*tokenizer.encode(text), TURN] for text in TURNS])


def test_it_is_the_likelihood_of_the_same_words_whatever_the_policys_tokenizer(
    bundle: Bundle, other: Tokenizer
) -> None:
    own = bundle.tokenizer
    expected = mean_log_probability(bundle.generator, contexts(own), turns(own))
    assert contexts(own).shape != contexts(other).shape
    for tokenizer in (own, other):
        found = Teacher(bundle, tokenizer).likelihood(contexts(tokenizer), turns(tokenizer))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert len(set(expected.tolist())) == len(TURNS)


def test_each_turn_is_judged_by_itself(bundle: Bundle, other: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, context, turn = Teacher(bundle, other), contexts(other), turns(other)
    together = teacher.likelihood(context, turn)
    for i in range(len(turn)):
        torch.testing.assert_close(teacher.likelihood(context[i : i + 1], turn[i : i + 1]), together[i : i + 1])
    monkeypatch.setattr("training.teacher._ROWS", 3)
    torch.testing.assert_close(teacher.likelihood(context, turn), together, rtol=1e-4, atol=1e-5)
    dirty = torch.nn.functional.pad(turn, (0, 2), value=8)  # behind a turn's end nothing counts
    torch.testing.assert_close(teacher.likelihood(context, dirty)[0], together[0])


def test_silence_and_turns_that_are_too_long_or_have_no_end_are_judged_all_the_same(
    bundle: Bundle, other: Tokenizer
) -> None:
    words = other.encode("yes " * 60)
    turn = padded([[TURN], words, [*words, TURN], words[:2]])
    found = Teacher(bundle, other).likelihood(contexts(other), turn)
    assert bool((found < 0).all())
    assert bool(found.isfinite().all())
    ended = Teacher(bundle, other).likelihood(contexts(other), padded([[TURN], words, words, [*words[:2], TURN]]))
    assert found[3] != ended[3]


def test_the_teacher_is_frozen(bundle: Bundle, other: Tokenizer) -> None:
    teacher = Teacher(bundle, other)
    assert not teacher.generator.training
    assert not any(parameter.requires_grad for parameter in teacher.generator.parameters())
