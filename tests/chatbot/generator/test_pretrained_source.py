"""Where language models come from, and what is said when there is none."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, ByT5Tokenizer

from chatbot.errors import LanguageModelError
from chatbot.generator.pretrained import Adapters, PretrainedGenerator
from chatbot.generator.pretrained_source import fetch_language_model, fetch_tokenizer
from chatbot.generator.understanding import check_understood
from tests.chatbot.pretrained import MAKES, Make, hf_tokenizer, network, save_language_model


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def fetch(source: Path | str) -> object:
    return fetch_language_model(str(source), bf16=False, turns="auto")


@pytest.mark.parametrize("make", MAKES)
def test_a_directory_of_any_make_is_read(make: Make, tmp_path: Path) -> None:
    model, tokenizer = fetch_language_model(str(save_language_model(tmp_path, make)), bf16=False, turns="auto")
    assert model.config.kind == ("causal" if make in ("llama", "gpt2") else "encoder-decoder")
    assert tokenizer.same_as(fetch_tokenizer(str(tmp_path)))
    assert bool(model.config.layout.cue) == (make == "llama")  # it alone has a chat template
    assert str(tmp_path) not in str(model.config.to_tree())
    check_understood(PretrainedGenerator(model, Adapters(), 16, 8))


def test_a_model_that_is_not_there_says_what_helps(tmp_path: Path) -> None:
    with pytest.raises(
        LanguageModelError, match="nobody/nothing: no such directory here, and it cannot be had from the"
    ):
        fetch("nobody/nothing")
    with pytest.raises(LanguageModelError, match="no such directory or file, and not a name on the Hugging Face hub"):
        fetch(tmp_path / "nothing")
    with pytest.raises(LanguageModelError, match=r"--set generator\.path="):
        fetch("")


def test_a_path_that_is_no_model_says_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(LanguageModelError, match=r"no language model; expected config.json .* found notes.txt"):
        fetch(tmp_path)
    with pytest.raises(LanguageModelError, match=r"found a file, expected a directory with a model, or a \.gguf file"):
        fetch(tmp_path / "notes.txt")
    (tmp_path / "broken.gguf").write_text("hello")
    with pytest.raises(LanguageModelError, match="not a language model that can be read"):
        fetch(tmp_path / "broken.gguf")


def test_pickles_are_not_read(tmp_path: Path) -> None:
    save_language_model(tmp_path)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(
        LanguageModelError, match=r"expected weights in \*\.safetensors, found pytorch_model.bin; pickles"
    ):
        fetch(tmp_path)


def test_a_model_that_writes_no_text_is_refused(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertForMaskedLM(BertConfig(vocab_size=300, **sizes)).save_pretrained(tmp_path)
    hf_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(
        LanguageModelError, match="found BertForMaskedLM, expected a causal language model or an encoder"
    ):
        fetch(tmp_path)


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    save_language_model(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if "layers.1" not in k}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(LanguageModelError, match=r"missing keys: model\.layers\.1"):
        fetch(tmp_path)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    network("llama", 40).save_pretrained(tmp_path)
    hf_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(LanguageModelError, match="the tokenizer has 300 ids, the model knows 40"):
        fetch(tmp_path)


@pytest.mark.parametrize("missing", ["transformers"])
def test_a_missing_library_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    save_language_model(tmp_path)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        LanguageModelError, match=rf"needs {missing}, which is not here: pip install 'rejoinder\[pretrained\]'"
    ):
        fetch(tmp_path)


def test_a_tokenizer_that_is_a_program_cannot_be_taken_over(tmp_path: Path) -> None:
    network("t5", 384).save_pretrained(tmp_path)
    ByT5Tokenizer().save_pretrained(tmp_path)
    with pytest.raises(LanguageModelError, match=r"its tokenizer has no tokenizer\.json"):
        fetch(tmp_path)


def test_a_decoder_must_have_a_beginning(tmp_path: Path) -> None:
    config = save_language_model(tmp_path, "bart") / "config.json"
    tree = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps({**tree, "decoder_start_token_id": None}), encoding="utf-8")
    with pytest.raises(LanguageModelError, match="does not say what the decoder begins with"):
        fetch(tmp_path)
