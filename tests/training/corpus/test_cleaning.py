"""What cleaning does to a text and to a dialogue: expected results, and laws that hold for every text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.corpus.cleaning import clean_dialogue, clean_text
from training.corpus.records import BadRecordError, Message, RawDialogue, alternating


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  two\t words \r\n", "two words"),
        ("a\u3000b\u00a0c\u2028d", "a b c d"),
        ("e\u0301", "é"),
        ("e\u0007\u0301", "é"),
        ("a\u001b[0m\u007f\u0085b\ufeff", "a[0m b"),
        ("你好，世界！", "你好，世界！"),
        ("👩‍👩‍👧 ok", "👩‍👩‍👧 ok"),
        ("see https://x.org", "see https://x.org"),
        ("\u0007", ""),
    ],
)
def test_texts(text: str, expected: str) -> None:
    assert clean_text(text) == expected


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_clean_text_is_normal_and_stays_as_it_is(text: str) -> None:
    clean = clean_text(text)
    assert clean == clean_text(clean)
    assert unicodedata.is_normalized("NFC", clean)
    assert not any(unicodedata.category(c) == "Cc" for c in clean)
    assert clean == " ".join(clean.split())


@pytest.mark.parametrize(("text", "kind"), [("a\0", "NUL character"), ("a\ud83d", "lone surrogate")])
def test_damaged_texts_are_refused(text: str, kind: str) -> None:
    with pytest.raises(BadRecordError) as caught:
        clean_text(text)
    assert caught.value.kind == kind
    str(caught.value).encode()  # the message itself can be printed


def test_a_speakers_neighbouring_messages_become_one_turn() -> None:
    messages = tuple(
        Message(speaker, text) for speaker, text in [("a", "hi"), ("a", "you"), ("b", "yes\n"), ("a", "?")]
    )
    clean = clean_dialogue(RawDialogue(1, messages))
    assert clean.turns == ("hi you", "yes", "?")
    assert clean.replies == (1, 2)
    assert (clean.joined_messages, clean.empty_messages) == (1, 0)


def test_an_empty_message_was_not_said_so_no_turn_answers_its_own_speaker() -> None:
    clean = clean_dialogue(RawDialogue(1, alternating(["a", "b", " ", "c", "d", ""])))
    assert clean.turns == ("a", "b c", "d")
    assert clean.empty_messages == 2


def test_only_the_assistants_answers_are_replies() -> None:
    messages = tuple(Message(role, role) for role in ["assistant", "user", "assistant", "user", "assistant", "user"])
    clean = clean_dialogue(RawDialogue(1, messages, repliers=frozenset({"assistant"})))
    assert clean.replies == (2, 4)  # not 0: nobody was answered there


@pytest.mark.parametrize(
    ("messages", "kind"),
    [
        (alternating([]), "fewer than two turns"),
        (alternating(["a"]), "fewer than two turns"),
        (alternating(["a", "\u0007 "]), "fewer than two turns"),
        ((Message("user", "a"), Message("user", "b")), "fewer than two turns"),
        ((Message("assistant", "a"), Message("user", "b")), "no reply"),
    ],
)
def test_nothing_to_learn_from(messages: tuple[Message, ...], kind: str) -> None:
    with pytest.raises(BadRecordError) as caught:
        clean_dialogue(RawDialogue(1, messages, repliers=frozenset({"assistant", "b"}) if kind == "no reply" else None))
    assert caught.value.kind == kind
