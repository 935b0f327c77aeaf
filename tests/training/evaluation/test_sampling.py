"""Replies of a bundle: the same whoever draws them beside which others, best of n by its own D, kept on disk."""

from pathlib import Path

import numpy as np
import pytest
import torch

from chatbot.bot import Bot, ReplyRequest
from chatbot.bundle import Bundle, Limits, load_bundle, save_bundle
from chatbot.decoding import Decoding
from chatbot.discriminator import Discriminator
from chatbot.errors import BundleError
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import TrunkConfig
from chatbot.tokenizer import TURN, Tokenizer
from training.evaluation import sampling
from training.evaluation.cache import Cache
from training.evaluation.sampling import Sampler, Setting

CPU = torch.device("cpu")
QUESTIONS = ("say here : cow ?", "say at home : dog ?", "tell me today : owl ?", "i wonder : bee ?", "say : pig ?")


@pytest.fixture(scope="module")
def bundle(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    tokenizer = Tokenizer.load(corpus / "tokenizer.json")
    shape = TrunkConfig("recurrent", 16, 1, 1, heads=2, feedforward=16, dropout=0.0)
    sizes = (tokenizer.vocabulary_size, 24, 12)
    path = tmp_path_factory.mktemp("sampled") / "bundle"
    save_bundle(Bundle(Seq2SeqGenerator(shape, *sizes), Discriminator(shape, *sizes), tokenizer, Limits(24, 12)), path)
    return path


def contexts(bundle: Path) -> list[list[int]]:
    tokenizer = Tokenizer.load(bundle / "tokenizer.json")
    return [[*tokenizer.encode(question), TURN] for question in QUESTIONS]


def quiet(done: int, total: int) -> None:
    """Show nothing."""


def sampler(bundle: Path, folder: Path) -> Sampler:
    return Sampler(bundle, Cache(folder), "fp32", CPU)


@pytest.mark.parametrize("best_of", [1, 4])
def test_replies_are_those_that_the_service_would_give(bundle: Path, tmp_path: Path, best_of: int) -> None:
    drawn = sampler(bundle, tmp_path).draw(contexts(bundle), Setting(0.8), best_of, 0, quiet)
    bot = Bot.load(bundle, "cpu")
    asked = [ReplyRequest([q], Decoding(0.8), seed=i, best_of=best_of) for i, q in enumerate(QUESTIONS)]
    assert drawn == [answer.replies[0].text for answer in bot.answer(asked)]


def test_batches_do_not_change_what_is_drawn(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sampler(bundle, tmp_path / "a").draw(contexts(bundle), Setting(top_p=0.9), 3, 7, quiet)
    monkeypatch.setattr(sampling, "ENCODED", 2)
    monkeypatch.setattr(sampling, "LANES", 3)
    assert sampler(bundle, tmp_path / "b").draw(contexts(bundle), Setting(top_p=0.9), 3, 7, quiet) == whole


def test_what_was_drawn_is_not_drawn_again(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sampler(bundle, tmp_path)
    drawn = first.draw(contexts(bundle), Setting(), 1, 0, quiet)
    other = first.draw(contexts(bundle), Setting(), 1, 1, quiet)
    assert drawn != other  # another seed
    assert drawn != first.draw(contexts(bundle), Setting(0.5), 1, 0, quiet)
    monkeypatch.setattr(sampling, "load_bundle", lambda *_: pytest.fail("loaded although everything is on disk"))
    told: list[tuple[int, int]] = []
    again = sampler(bundle, tmp_path).draw(contexts(bundle), Setting(), 1, 0, lambda *done: told.append(done))
    assert again == drawn
    assert told == [(5, 5)]


def test_best_of_n_is_the_favourite_of_d_and_needs_one(bundle: Path, tmp_path: Path) -> None:
    loaded = load_bundle(bundle)
    bare = tmp_path / "bare"
    save_bundle(Bundle(loaded.generator, None, loaded.tokenizer, loaded.limits), bare)
    assert sampler(bare, tmp_path / "a").draw(contexts(bundle), Setting(), 1, 0, quiet) == sampler(
        bundle, tmp_path / "b"
    ).draw(contexts(bundle), Setting(), 1, 0, quiet)
    with pytest.raises(BundleError, match="best of 2 needs a discriminator"):
        sampler(bare, tmp_path / "a").draw(contexts(bundle), Setting(), 2, 0, quiet)


def test_likelihood_is_the_sum_over_tokens(bundle: Path, tmp_path: Path) -> None:
    loaded = load_bundle(bundle)
    rows = contexts(bundle)
    replies = [[*loaded.tokenizer.encode(text), TURN][:12] for text in ("the cow says moo", "a", "woof", "b c", "d")]
    logs, tokens = sampler(bundle, tmp_path).log_likelihood(rows, replies)
    assert tokens.tolist() == [len(reply) for reply in replies]
    for row, reply, log in zip(rows, replies, logs, strict=True):
        with torch.no_grad():
            logits = loaded.generator.score(loaded.generator.encode(torch.tensor([row])), torch.tensor([reply]))[0]
        expected = torch.log_softmax(logits, -1).gather(1, torch.tensor(reply)[:, None]).sum()
        assert log == pytest.approx(float(expected), rel=1e-4)
    assert np.isfinite(logs).all()
