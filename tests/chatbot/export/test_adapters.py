"""Adapters without their language model, and together with it again."""

from pathlib import Path

import pytest
import torch

from chatbot.bot import Bot
from chatbot.bundle import Bundle, Limits, bundle_digest, load_bundle, save_bundle
from chatbot.errors import BundleError, ExportError
from chatbot.export.adapters import complete_bundle
from chatbot.export.exporting import export_bundle
from chatbot.generator.pretrained import Adapters, PretrainedGenerator
from chatbot.generator.pretrained_source import fetch_language_model
from chatbot.pretrained_bundle import LANGUAGE_MODEL
from chatbot.request import ReplyRequest
from tests.chatbot.export.examples import GOLDEN
from tests.chatbot.pretrained import save_language_model

ASKED = [ReplyRequest(["hello"], seed=3), ReplyRequest(["a", "b", "c"], seed=4)]


@pytest.fixture
def language_model(tmp_path: Path) -> Path:
    return save_language_model(tmp_path / "lm")


@pytest.fixture
def whole(language_model: Path, tmp_path: Path) -> Path:
    """Return a bundle of adapters that learnt something, beside its language model."""
    model, tokenizer = fetch_language_model(str(language_model), bf16=False, turns="auto")
    generator = PretrainedGenerator(model, Adapters(4, 8, ()), 32, 12).eval()
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in generator.parameters():
            if parameter.requires_grad:
                parameter += 0.3 * torch.randn(parameter.shape)
    save_bundle(Bundle(generator, None, tokenizer, Limits(32, 12), "# Tuned\n"), tmp_path / "whole")
    return tmp_path / "whole"


def test_put_together_again_they_are_the_bundle(whole: Path, language_model: Path, tmp_path: Path) -> None:
    export_bundle(whole, "adapters", tmp_path / "adapters")
    left_out = {path.name for path in whole.iterdir()} - {path.name for path in (tmp_path / "adapters").iterdir()}
    assert left_out == {LANGUAGE_MODEL}
    with pytest.raises(BundleError, match=f"{LANGUAGE_MODEL} is missing; these are adapters: rejoinder complete"):
        load_bundle(tmp_path / "adapters")
    complete_bundle(tmp_path / "adapters", str(language_model), tmp_path / "deep" / "again")
    assert bundle_digest(tmp_path / "deep/again") == bundle_digest(whole)
    answers = [Bot.load(path, "cpu").answer(ASKED) for path in (whole, tmp_path / "deep/again")]
    assert answers[0] == answers[1]
    with pytest.raises(ExportError, match="is there already"):
        complete_bundle(tmp_path / "adapters", str(language_model), whole)


def test_another_language_model_is_refused_and_nothing_is_left(whole: Path, tmp_path: Path) -> None:
    export_bundle(whole, "adapters", tmp_path / "adapters")
    other = save_language_model(tmp_path / "other", "gpt2")
    with pytest.raises(BundleError, match=r"is not the language model that .*adapters learnt on \(sha256"):
        complete_bundle(tmp_path / "adapters", str(other), tmp_path / "deep" / "again")
    assert not list((tmp_path / "deep").iterdir())


def test_what_has_no_adapters_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="holds no language model"):
        export_bundle(GOLDEN / "recurrent", "adapters", tmp_path / "adapters")
    with pytest.raises(BundleError, match="needs no language model"):
        complete_bundle(GOLDEN / "recurrent", "anything", tmp_path / "out")
    assert not list(tmp_path.iterdir())
