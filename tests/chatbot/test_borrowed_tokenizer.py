"""Tokenizers of language models: every text comes back, ids are moved, nothing special is read from a text."""

import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, trainers

from chatbot.borrowed_tokenizer import BORROWED_BY, borrow
from chatbot.errors import TokenizerError
from chatbot.reply_text import ReplyText
from chatbot.tokenizer import RESERVED, Tokenizer
from tests.chatbot.pretrained import SPECIAL, hf_tokenizer
from tests.chatbot.tiny import TEXTS

NATIVE = hf_tokenizer()
BYTE_LEVEL = borrow(NATIVE.backend_tokenizer.to_str())


def sentence_pieces(kind: str) -> str:
    """Return a tokenizer as SentencePiece models have it: spaces as ▁, single bytes where a character is unknown."""
    trained = {
        "Unigram": tokenizers.Tokenizer(models.Unigram()),
        "BPE": tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>")),
    }[kind]
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    byte_pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    special = ["<pad>", "<unk>", "</s>"]  # "<pad>" is a name of ours, too
    if kind == "Unigram":
        trainer = trainers.UnigramTrainer(
            vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False
        )
    else:
        trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=[*special, *byte_pieces], show_progress=False)
    trained.train_from_iterator(TEXTS, trainer)
    tree = json.loads(trained.to_str())
    for added in tree["added_tokens"]:
        added["special"] = added["content"] in special
    tree["added_tokens"] = [added for added in tree["added_tokens"] if added["special"]]
    trained = tokenizers.Tokenizer.from_str(json.dumps(tree))
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    trained.decoder = decoders.Sequence(parts)
    return str(trained.to_str())


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example("<|im_end|> <|im_start|> <turn> <pad>")
@example("你好 😀  two  spaces")
def test_every_text_comes_back_and_none_gives_a_special_id(text: str) -> None:
    ids = BYTE_LEVEL.encode(text)
    assert BYTE_LEVEL.decode(ids) == text
    assert b"".join(map(BYTE_LEVEL.piece, ids)).decode() == text
    assert all(i >= BORROWED_BY + len(SPECIAL) for i in ids)


def test_ids_are_the_language_models_own_moved_behind_the_reserved_ones() -> None:
    own = NATIVE.encode("hello, how are you?", add_special_tokens=False)
    assert BYTE_LEVEL.encode("hello, how are you?") == [i + BORROWED_BY for i in own]
    assert BYTE_LEVEL.vocabulary_size == len(NATIVE) + BORROWED_BY


@pytest.mark.parametrize("kind", ["BPE", "Unigram"])
def test_sentence_pieces_come_back_in_text_and_in_bytes(kind: str) -> None:
    tokenizer = borrow(sentence_pieces(kind))
    for text in TEXTS[:3]:
        ids = tokenizer.encode(text)
        assert min(ids) >= BORROWED_BY
        assert tokenizer.decode(ids) == text
        told = ReplyText(tokenizer)
        assert "".join([*(told.add([i]) for i in ids), told.finish()]) == text
    if kind == "BPE":  # bytes stand for what no piece is for
        assert b"".join(map(tokenizer.piece, tokenizer.encode("ß")))[-2:].decode() == "ß"


def test_a_token_with_a_reserved_name_keeps_its_place_and_is_not_read_from_text() -> None:
    tokenizer = borrow(sentence_pieces("Unigram"))
    assert [tokenizer.decode([i]) for i in range(BORROWED_BY)] == ["", "", ""]
    for name in RESERVED:
        assert min(tokenizer.encode(name)) >= BORROWED_BY


def test_it_is_saved_and_loaded_as_one_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    BYTE_LEVEL.save(path)
    again = Tokenizer.load(path)
    assert again.same_as(BYTE_LEVEL)
    assert not again.same_as(borrow(sentence_pieces("BPE")))


def test_a_kind_that_loses_text_is_refused() -> None:
    words = tokenizers.Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))
    with pytest.raises(TokenizerError, match="a WordLevel tokenizer cannot give every text back"):
        borrow(words.to_str())


def test_pieces_without_one_for_the_unknown_are_refused() -> None:
    trained = tokenizers.Tokenizer(models.Unigram())
    trainer = trainers.UnigramTrainer(vocab_size=60, show_progress=False)
    trained.train_from_iterator(["hello how are you"], trainer)
    trained.decoder = decoders.Fuse()
    assert json.loads(trained.to_str())["model"]["unk_id"] is None
    with pytest.raises(TokenizerError, match="without a piece for unknown characters"):
        borrow(trained.to_str())


def test_a_special_token_that_a_text_could_hold_is_refused() -> None:
    tree = json.loads(NATIVE.backend_tokenizer.to_str())
    merged = "".join(tree["model"]["merges"][1])
    shape = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tree["added_tokens"].append({"id": tree["model"]["vocab"][merged], "content": merged, **shape})
    with pytest.raises(TokenizerError, match=f"the text '{merged}' would be read as a special token"):
        borrow(json.dumps(tree))
