"""What transformers makes of an exported pretrained generator: our logits, our prompts, our likeliest replies."""

from pathlib import Path
from typing import Any

import pytest
import torch

from chatbot.borrowed_tokenizer import BORROWED_BY, borrow, give_back
from chatbot.bot import Bot, ReplyRequest
from chatbot.bundle import Bundle, Limits, save_bundle
from chatbot.cleaning import clean_turn
from chatbot.errors import ExportError
from chatbot.export.exporting import export_bundle
from chatbot.export.language_model import write_language_model
from chatbot.export.source import language_model_generator
from chatbot.generator.pretrained import Adapters, PretrainedGenerator
from chatbot.generator.pretrained_source import fetch_language_model
from chatbot.generator.prompt import Layout
from chatbot.request import Decoding
from tests.chatbot.export.examples import lively, the_example
from tests.chatbot.pretrained import MAKES, Make, pretrained, save_language_model
from tests.chatbot.test_borrowed_tokenizer import sentence_pieces
from tests.chatbot.tiny import padded

HISTORIES = (["hello"], ["hello", "hello, how are you?", "I am fine"], ["你好", "你好，你好吗？", "我很好"])
LIMITS = Limits(context_tokens=80, reply_tokens=12)


def fetched(source: Path, adapters: Adapters | None) -> Bundle:
    """Return a bundle that begins with the language model at `source`, after some learning."""
    language_model, tokenizer = fetch_language_model(str(source), bf16=False, turns="auto")
    generator = PretrainedGenerator(language_model, adapters, LIMITS.context_tokens, LIMITS.reply_tokens).eval()
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if "lora_B" in name or adapters is None:
                parameter += 0.1 * torch.randn(parameter.shape)
    return Bundle(generator, None, tokenizer, LIMITS, "# Learnt\n", {})


@pytest.fixture(scope="module", params=[(make, adapters) for make in MAKES for adapters in (Adapters(4, 8), None)])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Make, Bundle, Path]:
    """Return a make, a bundle of it whose weights have moved, and where it was exported."""
    make, adapters = request.param
    base = tmp_path_factory.mktemp(make)
    bundle = fetched(save_language_model(base / "model", make), adapters)
    (base / "out").mkdir()
    write_language_model(bundle, base / "out")
    return make, bundle, base / "out"


def library(make: Make, directory: Path) -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    auto = AutoModelForCausalLM if make in ("llama", "gpt2") else AutoModelForSeq2SeqLM
    return auto.from_pretrained(directory)


def test_the_logits_and_prompts_are_ours(case: tuple[Make, Bundle, Path]) -> None:
    from transformers import AutoTokenizer

    make, bundle, directory = case
    generator, tokenizer = language_model_generator(bundle), AutoTokenizer.from_pretrained(directory)
    config, model = generator.trunk.config, library(make, directory)
    for turns in HISTORIES:
        ids = [i for turn in turns for i in (*bundle.tokenizer.encode(turn), 2)]
        reply = torch.tensor([[*bundle.tokenizer.encode("how are you"), 2]])
        chat = [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
        said = (reply - BORROWED_BY)[:, :-1]
        with torch.no_grad():
            ours = generator.score(generator.encode(padded([ids])), reply)[0]
            if config.kind == "causal":
                theirs = model(torch.cat((torch.tensor([prompt]), said), 1)).logits[0, -reply.shape[1] :]
            else:
                begun = torch.tensor([[*config.begun, config.start]])
                read = torch.cat((begun, said), 1)
                theirs = model(torch.tensor([prompt]), decoder_input_ids=read).logits[0, -reply.shape[1] :]
        heard = [i for i in range(config.tokens) if i not in config.never]
        assert ours[:, [i + BORROWED_BY for i in heard]].std() > 0.1
        torch.testing.assert_close(ours[:, [i + BORROWED_BY for i in heard]], theirs[:, heard], rtol=0, atol=1e-4)
        torch.testing.assert_close(ours[:, 2], theirs[:, config.layout.end], rtol=0, atol=1e-4)


def test_the_likeliest_replies_are_ours_by_the_card_s_own_program(
    case: tuple[Make, Bundle, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, bundle, directory = case
    save_bundle(bundle, tmp_path / "bot")
    request = ReplyRequest(["hello"], Decoding(temperature=0))
    [answer] = Bot.load(tmp_path / "bot", "cpu").answer([request])
    monkeypatch.setattr("sys.argv", ["example", str(directory)])
    exec(the_example(directory), {})
    assert clean_turn(capsys.readouterr().out) == answer.replies[0].text
    card = (directory / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# Learnt\n")
    assert "the very ids" in card


def test_what_was_exported_is_a_language_model_to_begin_with(case: tuple[Make, Bundle, Path]) -> None:
    _, bundle, directory = case
    again, tokenizer = fetch_language_model(str(directory), bf16=False, turns="auto")
    assert tokenizer.encode("hello, 你好") == bundle.tokenizer.encode("hello, 你好")
    ours, theirs = language_model_generator(bundle).trunk.config, again.config
    assert (theirs.kind, theirs.layout, theirs.start, theirs.begun) == (ours.kind, ours.layout, ours.start, ours.begun)


@pytest.mark.parametrize("kind", ["BPE", "Unigram"])
def test_a_borrowed_tokenizer_is_given_back(kind: str) -> None:
    from tokenizers import Tokenizer as Native

    pieces = sentence_pieces(kind)
    own, again = Native.from_str(pieces), Native.from_str(give_back(borrow(pieces)))
    assert again.get_vocab(with_added_tokens=True) == own.get_vocab(with_added_tokens=True)
    for text in ("hello, how are you?", "<pad> ß </s>"):
        assert again.encode(text, add_special_tokens=False).ids == own.encode(text, add_special_tokens=False).ids


def test_a_template_that_cannot_give_our_ids_is_told_in_the_card(tmp_path: Path) -> None:
    # It begins a text with a space, and behind a mark of letters no text begins.
    tokenizer = borrow(sentence_pieces("BPE"))
    [mark] = [i - BORROWED_BY for i in tokenizer.encode("h")]
    layout, size = Layout((), (mark,), (2,), (), (2,), (), end=2), tokenizer.vocabulary_size - BORROWED_BY
    generator = pretrained("gpt2", tokens=size, layout=layout)
    write_language_model(Bundle(generator, None, tokenizer, LIMITS), tmp_path)
    assert "gives other ids" in (tmp_path / "README.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore::UserWarning")  # of the library: that merging fails is what this is about
def test_adapters_on_weights_that_another_layer_has_are_refused(tmp_path: Path) -> None:
    source = save_language_model(tmp_path / "model", "gpt2")
    bundle = fetched(source, Adapters(4, 8, ("lm_head",)))
    with pytest.raises(ExportError, match="adapter on lm_head cannot be merged: another layer has the same weights"):
        write_language_model(bundle, tmp_path)


def test_which_bundle_goes_where(tmp_path: Path) -> None:
    bundle = fetched(save_language_model(tmp_path / "model"), Adapters(4, 8))
    save_bundle(bundle, tmp_path / "bot")
    for target in ("ct2", "onnx"):
        with pytest.raises(ExportError, match="pretrained language model goes to hf alone"):
            export_bundle(tmp_path / "bot", target, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    export_bundle(tmp_path / "bot", "hf", tmp_path / "out")
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "README.md"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    with pytest.raises(ExportError, match="no language model"):
        language_model_generator(lively("transformer", bundle.tokenizer))
