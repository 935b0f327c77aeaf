"""Bundles of pretrained generators: whole, shared where they can be, strict about what is in them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from chatbot.borrowed_tokenizer import borrow
from chatbot.bot import Bot
from chatbot.bundle import FORMAT, Bundle, load_bundle, read_config, save_bundle
from chatbot.discriminator import PairDiscriminator
from chatbot.errors import BundleError
from chatbot.generator.pretrained import Adapters, PretrainedGenerator
from chatbot.pretrained_bundle import LANGUAGE_MODEL
from chatbot.request import Decoding, ReplyRequest
from chatbot.tokenizer import TURN
from tests.chatbot.pretrained import MAKES, Make, hf_tokenizer, pretrained_bundle
from tests.chatbot.test_bundle import change_config, sign
from tests.chatbot.tiny import bundle, discriminator, padded

TOKENIZER = borrow(hf_tokenizer().backend_tokenizer.to_str())
CONTEXTS, REPLIES = padded([[50, 51, TURN, 52, TURN], [60, TURN]]), padded([[70, 71, TURN], [72, TURN]])


def logits(found_in: Bundle) -> list[torch.Tensor]:
    with torch.no_grad():
        judge = found_in.discriminator
        found = [found_in.generator.score(found_in.generator.encode(CONTEXTS), REPLIES)]
        return found if judge is None else [*found, judge(judge.encode(CONTEXTS), REPLIES)]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pretrained") / "bot"
    save_bundle(pretrained_bundle(TOKENIZER), directory)
    return directory


@pytest.fixture
def made(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "bot"))


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("adapters", [Adapters(4, 8, ()), None])
@pytest.mark.parametrize("judged", [True, False])
def test_a_bundle_comes_back_with_equal_logits(
    make: Make, adapters: Adapters | None, judged: bool, tmp_path: Path
) -> None:
    own = pretrained_bundle(TOKENIZER, make, adapters)
    if not judged:
        own = Bundle(own.generator, None, own.tokenizer, own.limits)
    save_bundle(own, tmp_path / "bot")
    again = load_bundle(tmp_path / "bot")
    for one, other in zip(logits(own), logits(again), strict=True):
        assert torch.equal(one, other)
    assert (tmp_path / "bot" / LANGUAGE_MODEL).is_file() == (judged or adapters is not None)
    assert isinstance(again.generator, PretrainedGenerator)
    assert again.generator.adapters == adapters


def test_a_discriminator_of_our_own_make_may_judge_it(tmp_path: Path) -> None:
    whole = pretrained_bundle(TOKENIZER)
    judge = discriminator("recurrent", vocabulary=TOKENIZER.vocabulary_size)
    mixed = Bundle(whole.generator, judge, TOKENIZER, whole.limits)
    save_bundle(mixed, tmp_path / "bot")
    for one, other in zip(logits(mixed), logits(load_bundle(tmp_path / "bot")), strict=True):
        assert torch.equal(one, other)


def test_bundles_of_one_language_model_share_its_file_and_its_memory(tmp_path: Path) -> None:
    own = pretrained_bundle(TOKENIZER)
    assert isinstance(own.generator, PretrainedGenerator)
    model = own.generator.language_model
    model.save(tmp_path / LANGUAGE_MODEL)
    model.file = tmp_path / LANGUAGE_MODEL
    for name in ("one", "two"):
        save_bundle(own, tmp_path / name)
    assert (tmp_path / "one" / LANGUAGE_MODEL).samefile(tmp_path / "two" / LANGUAGE_MODEL)
    again = load_bundle(tmp_path / "two", sharing=own.generator)
    assert isinstance(again.generator, PretrainedGenerator)
    assert again.generator.language_model is model
    assert torch.equal(logits(again)[0], logits(own)[0])
    save_bundle(own, tmp_path / "one")  # over an older one, whose file others have, too
    assert torch.equal(logits(load_bundle(tmp_path / "two"))[1], logits(own)[1])


def test_a_bot_answers_with_it_alone_as_among_others(original: Path) -> None:
    bot = Bot.load(original, "cpu", lanes=3)
    requests = [ReplyRequest([text] * n, Decoding(temperature=1.0), seed=n, n=2) for n, text in enumerate(
        ("hello", "how are you?", "do you like music?", "apples"), 1)]  # fmt: skip
    together = bot.answer(requests)
    for request, answer in zip(requests, together, strict=True):
        [alone] = bot.answer([request])
        assert alone == answer
    [ranked] = bot.answer([ReplyRequest(["hello"], best_of=4, seed=3)])
    assert ranked.replies[0].score is not None


def unknown_type(config: dict[str, Any]) -> None:
    config["generator"]["language_model"]["library"]["model_type"] = "evil"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["generator"].pop("adapters"), "generator: found .* expected .*adapters"),
        (lambda c: c["generator"].update(more=1), "generator: found"),
        (lambda c: c["generator"].update(language_model=7), "language_model: expected an object"),
        (lambda c: c["generator"]["adapters"].update(rank=0), "rank is 0, expected a whole number from 1"),
        (lambda c: c["generator"]["adapters"].update(rank=8), "has shape .* expected"),
        (lambda c: c["generator"]["adapters"].update(targets="q"), "targets is 'q', expected a list"),
        (lambda c: c["generator"]["language_model"].update(kind="other"), "kind is 'other'"),
        (lambda c: c["generator"]["language_model"].update(tokens=200), "ids"),
        (unknown_type, "'evil' is no model that transformers knows"),
        (lambda c: c["generator"]["language_model"]["library"].update(num_hidden_layers=3), "missing keys"),
        (lambda c: c["generator"]["language_model"]["library"].update(hidden_size=64), "do not fit"),
        (lambda c: c["discriminator"].update(width=0), "width is 0"),
        (lambda c: c["discriminator"].update(width=9), "has shape .* expected"),
        (lambda c: c["discriminator"].update(dropout=2), "dropout is 2"),
        (lambda c: c["files"].pop(LANGUAGE_MODEL), "missing"),
    ],
)
def test_a_config_that_does_not_describe_the_files_is_refused(
    made: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    change_config(made, change)
    with pytest.raises(BundleError, match=said):
        load_bundle(made)


def test_an_altered_or_missing_language_model_is_found_out(made: Path) -> None:
    path = made / LANGUAGE_MODEL
    weights = load_file(path)
    save_file({key: value + 1 for key, value in weights.items()}, path)
    with pytest.raises(BundleError, match="sha256 differs"):
        load_bundle(made)
    path.write_bytes(b"nonsense")
    sign(made)
    with pytest.raises(BundleError, match="cannot be read as safetensors"):
        load_bundle(made)
    path.unlink()
    with pytest.raises(BundleError, match=f"{LANGUAGE_MODEL} is missing"):
        load_bundle(made)


def test_older_versions_are_told_to_be_upgraded_and_compact_ones_there_are_none(original: Path, tmp_path: Path) -> None:
    assert read_config(original)["format"] == FORMAT == 3
    with pytest.raises(BundleError, match="a pretrained generator cannot be kept compact"):
        save_bundle(load_bundle(original), tmp_path / "compact", compact=True)
    assert not (tmp_path / "compact").exists()


def test_a_bundle_of_our_own_architectures_is_what_it_was(tmp_path: Path) -> None:
    save_bundle(bundle("transformer", TOKENIZER), tmp_path / "own")
    config = json.loads((tmp_path / "own" / "config.json").read_text(encoding="utf-8"))
    assert config["format"] < FORMAT
    assert set(config["files"]) == {"tokenizer.json", "generator.safetensors", "discriminator.safetensors"}
    assert isinstance(load_bundle(tmp_path / "own").discriminator, PairDiscriminator)
