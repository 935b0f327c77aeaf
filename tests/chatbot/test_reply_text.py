"""Text that comes piece by piece is the text of the whole, and never has to be taken back."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatbot.cleaning import clean_turn
from chatbot.reply_text import ReplyText
from chatbot.tokenizer import RESERVED, TURN, Tokenizer
from tests.chatbot.tiny import TEXTS

TOKENIZER = Tokenizer.train(TEXTS, 320)
ACCENTS = "e\u0301 a\u0323\u0302 \u1100\u1161\u11a8 n\u0303o"


def pieces(tokens: list[int], stop: tuple[str, ...] = ()) -> tuple[list[str], ReplyText]:
    text = ReplyText(TOKENIZER, stop)
    told = [text.add([token]) for token in tokens]
    return [*told, text.finish()], text


@given(st.lists(st.integers(0, TOKENIZER.vocabulary_size - 1), max_size=40))
def test_any_tokens_told_one_by_one_give_the_text_of_the_whole(tokens: list[int]) -> None:
    told, text = pieces(tokens)
    assert "".join(told) == text.text == clean_turn(TOKENIZER.decode(tokens))


@given(st.text(max_size=30))
@example(ACCENTS)
@example("  hello \n  there\u3000")
@example("a\x00\u0301b\ufeff")
@example("👩‍👩‍👧 你好")
def test_any_text_told_token_by_token_is_itself(text: str) -> None:
    told, _ = pieces(TOKENIZER.encode(text))
    assert "".join(told) == clean_turn(text)


def test_half_a_character_is_held_back() -> None:
    tokens = TOKENIZER.encode("😎")
    assert len(tokens) > 1
    told, _ = pieces(tokens)
    assert told == [""] * len(tokens) + ["😎"]


@given(st.text("ab ", max_size=20), st.lists(st.text("ab ", min_size=1, max_size=4), min_size=1, max_size=3))
@example("a a", [" ", "a a"])  # the second begins earlier, but is complete later
def test_a_reply_ends_before_its_first_stop_and_shows_nothing_of_it(raw: str, stop: list[str]) -> None:
    whole = clean_turn(raw)
    found = [(whole.find(one) + len(one), whole.find(one)) for one in stop if one in whole]
    tokens = TOKENIZER.encode(raw)
    text = ReplyText(TOKENIZER, tuple(stop))
    told = ""
    for token in tokens:
        told += text.add([token])
        assert whole.startswith(told)
    told += text.finish()
    assert told == text.text == (whole[: min(found)[1]] if found else whole)
    assert text.stopped == bool(found)
    if found:
        assert text.add(TOKENIZER.encode("more")) == text.finish() == ""


def test_what_may_begin_a_stop_waits_until_it_is_known() -> None:
    told, text = pieces([*TOKENIZER.encode("x a"), *TOKENIZER.encode("b"), *TOKENIZER.encode("c z")], ("abd",))
    assert "".join(told) == "x abc z"
    assert not text.stopped
    assert not any(piece.endswith("a") for piece in told)


@pytest.mark.parametrize("token", range(len(RESERVED)))
def test_reserved_ids_say_nothing(token: int) -> None:
    assert TOKENIZER.piece(token) == b""
    assert TURN in range(len(RESERVED))


def test_the_pieces_of_a_text_are_its_bytes() -> None:
    for text in (*TEXTS, "\x00\x7f\xa0\xad ~!", "😀" * 3):
        assert b"".join(TOKENIZER.piece(t) for t in TOKENIZER.encode(text)) == text.encode()
