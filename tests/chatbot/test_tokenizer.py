import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatbot.errors import TokenizerError
from chatbot.tokenizer import PAD, RESERVED, SMALLEST_VOCABULARY, START, TURN, Tokenizer

TOKENIZER = Tokenizer.train(["a cat and a hat", "你好你好", *RESERVED * 50, "<turn><turn>"], 300)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT)
@example("你好，世界 😀👩‍👩‍👧 e\u0301 é")
@example("\x00\x01\x7f\x85\u2028\ufeff\r\n\t  two  spaces ")
@example("<pad><start><turn> <turn>")
@example("")
def test_every_text_comes_back_exactly(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(TEXT)
@example("<turn>")
@example("a<turn>b <pad> <start>")
def test_no_text_gives_a_reserved_id(text: str) -> None:
    ids = TOKENIZER.encode(text)

    assert all(len(RESERVED) <= i < TOKENIZER.vocabulary_size for i in ids)
    assert bool(ids) == bool(text)


@given(st.lists(TEXT, max_size=4))
def test_a_batch_is_encoded_as_each_text_alone(texts: list[str]) -> None:
    assert TOKENIZER.encode_batch(texts) == [TOKENIZER.encode(text) for text in texts]


def test_the_reserved_ids_are_those_the_models_know() -> None:
    assert (PAD, START, TURN) == (0, 1, 2)
    assert TOKENIZER.decode([START, *TOKENIZER.encode("hi"), TURN, PAD, PAD]) == "hi"


def test_half_of_a_character_is_shown_as_such() -> None:
    assert TOKENIZER.decode(Tokenizer.train([], SMALLEST_VOCABULARY).encode("你")[:2]) == "\ufffd"


def test_frequent_words_are_learnt_as_one_token() -> None:
    tokenizer = Tokenizer.train(["hello hello hello 你好 你好 你好"], 400)

    assert len(tokenizer.encode("hello")) == 1
    assert len(tokenizer.encode(" 你好")) == 1


def test_training_on_nothing_leaves_the_bytes() -> None:
    assert Tokenizer.train([], 1000).vocabulary_size == SMALLEST_VOCABULARY


@pytest.mark.parametrize("size", [0, -1, SMALLEST_VOCABULARY - 1, 65_537])
def test_a_vocabulary_without_room_is_an_error(size: int) -> None:
    with pytest.raises(TokenizerError, match=str(size)):
        Tokenizer.train(["a"], size)


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    TOKENIZER.save(path)
    loaded = Tokenizer.load(path)
    text = "a cat and <turn> 你好 😀"

    assert loaded.vocabulary_size == TOKENIZER.vocabulary_size
    assert loaded.encode(text) == TOKENIZER.encode(text)
    assert loaded.encode_batch([text]) == [TOKENIZER.encode(text)]
    assert TURN not in loaded.encode("<turn>")


def test_training_twice_gives_the_same_file(tmp_path: Path) -> None:
    texts = ["the same texts give the same merges", "你好吗", "aaaa bbbb abab"]
    Tokenizer.train(texts, 300).save(tmp_path / "a")
    Tokenizer.train(texts, 300).save(tmp_path / "b")

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    "content",
    [b"", b"not json", b"[]", b"{}", b"\xff\xfe", b'{"version": "1.0", "model": {"type": "BPE", "vocab": {}}}'],
)
def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)

    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        Tokenizer.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"nothing\.json"):
        Tokenizer.load(tmp_path / "nothing.json")


def test_a_tokenizer_with_other_reserved_tokens_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    TOKENIZER.save(path)
    path.write_text(path.read_text(encoding="utf-8").replace("<turn>", "</s>"), encoding="utf-8")

    with pytest.raises(TokenizerError, match="first three tokens"):
        Tokenizer.load(path)


@given(st.data())
def test_a_damaged_file_is_an_error_or_loads(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    TOKENIZER.save(path)
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut] + data.draw(st.binary(max_size=3)) + content[cut + data.draw(st.integers(0, 9)) :])

    with contextlib.suppress(TokenizerError):
        Tokenizer.load(path).encode("a cat 你")


def test_a_token_of_no_bytes_is_refused(tmp_path: Path) -> None:
    """Bytes are written as printable letters; a space is none of them."""
    path = tmp_path / "tokenizer.json"
    Tokenizer.train(["hello"], 262).save(path)
    tree = json.loads(path.read_text(encoding="utf-8"))
    last = max(tree["model"]["vocab"], key=tree["model"]["vocab"].get)
    tree["model"]["vocab"]["a b"] = tree["model"]["vocab"].pop(last)
    tree["model"]["merges"] = []
    path.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(TokenizerError, match="is 'a b', which stands for no bytes"):
        Tokenizer.load(path)
