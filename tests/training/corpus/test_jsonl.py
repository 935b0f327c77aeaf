"""The three JSON forms of a dialogue, and every way in which a line can be bad."""

import json
from typing import Any

import pytest

from training.corpus.cleaning import clean_dialogue
from training.corpus.jsonl import read_jsonl
from training.corpus.records import LeftOut, Message, RawDialogue, Record, Rejection


def one(value: Any) -> Record:
    line = value if isinstance(value, bytes) else json.dumps(value).encode()
    (record,) = read_jsonl([line + b"\n"])
    return record


def test_turns_alternate_and_all_are_replies() -> None:
    record = one({"id": 7, "turns": ["a", "b", "c"], "license": "MIT", "source": "s", "split": "dev"})
    assert record == RawDialogue(
        line=1,
        messages=(Message("a", "a"), Message("b", "b"), Message("a", "c")),
        split="valid",
        license="MIT",
        origin="s",
    )


def test_openai_messages_leave_out_and_count_the_system_and_join_parts() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    record = one(
        {
            "messages": [
                {"role": "system", "content": "be nice"},
                {"role": "user", "content": parts},
                {"role": "assistant", "content": "c"},
            ]
        }
    )
    assert record == RawDialogue(
        line=1,
        messages=(Message("user", "a\nb"), Message("assistant", "c")),
        repliers=frozenset({"assistant"}),
        system_messages=1,
    )


def test_sharegpt_conversations() -> None:
    record = one({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]})
    assert isinstance(record, RawDialogue)
    assert record.messages == (Message("user", "a"), Message("assistant", "b"))
    assert record.repliers == {"assistant"}


def test_each_of_the_replies_that_a_model_wrote_is_learnt_and_nothing_else() -> None:
    row = {
        "turns": ["a", "b", "c"],
        "reply": "what a human said",
        "source": "data, pair 17",
        "split": "train",
        "model": "teacher",
        "replies": [
            {"text": "d", "finish_reason": "stop", "discriminator_score": None},
            {"text": "cut in the", "finish_reason": "length", "discriminator_score": None},
            {"text": " ", "finish_reason": "stop", "discriminator_score": None},
            "e",
        ],
    }
    first, cut, empty, second = read_jsonl([json.dumps(row).encode()])
    assert (cut, empty) == (LeftOut("reply cut at its limit"), LeftOut("empty reply"))
    for record, reply in ((first, "d"), (second, "e")):
        assert isinstance(record, RawDialogue)
        assert [message.text for message in record.messages] == ["a", "b", "c", reply]
        clean = clean_dialogue(record)
        assert clean.replies == (3,)
        assert (record.origin, record.split) == ("teacher", "train")


def test_messages_may_be_answered_after_the_assistant_has_spoken() -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    record = one({"messages": messages, "replies": ["c"]})
    assert isinstance(record, RawDialogue)
    assert (clean_dialogue(record).turns, clean_dialogue(record).replies) == (("a", "b", "c"), (2,))


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ("b", "replies is text, expected a list"),
        ([["b"]], "replies[0] is a list, expected text or an object with it"),
        (["b", {"finish_reason": "stop"}], "replies[1] is null, expected text or an object with it"),
    ],
)
def test_replies_of_another_kind_are_rejected_whole(replies: object, reason: str) -> None:
    record = one({"turns": ["a"], "replies": replies})
    assert isinstance(record, Rejection)
    assert reason in record.reason


def test_blank_lines_are_no_records_but_count_as_lines() -> None:
    records = list(read_jsonl([b"\n", b'{"turns": ["a", "b"]}\n', b"  \r\n", b"[]"]))
    assert [record.line for record in records if not isinstance(record, LeftOut)] == [
        2,
        4,
    ]


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        (b'{"turns": ["a"', "broken JSON", ""),
        (b"[" * 100_000, "broken JSON", ""),
        (b'{"turns": [' + b"1" * 5000 + b"]}", "broken JSON", ""),
        (b'{"turns": ["caf\xe9", "b"]}', "not UTF-8", "0xe9 at position 15"),
        (b'{"turns": ["a\0", "b"]}', "NUL character", ""),
        (b'["a", "b"]', "wrong type", "the line is a list, expected an object"),
        (b"3", "wrong type", "a number"),
        (b'{"text": "a"}', "no turns", "found text"),
        (b"{}", "no turns", "found none"),
        (b'{"turns": []}', "no turns", "turns is empty"),
        (b'{"turns": "a"}', "wrong type", "turns is text, expected a list"),
        (b'{"turns": ["a", 3]}', "wrong type", "turns[1] is a number, expected text"),
        (b'{"turns": ["a", null]}', "wrong type", "turns[1] is null"),
        (b'{"turns": ["a", "b"], "split": "extra"}', "unknown split", "'extra', expected one of train"),
        (b'{"turns": ["a", "b"], "license": 3}', "wrong type", "license is a number"),
        (b'{"messages": ["a", "b"]}', "wrong type", "messages[0] is text, expected an object"),
        (b'{"messages": [{"content": "a"}]}', "unknown role", "messages[0] has no role"),
        (b'{"messages": [{"role": "cat", "content": "a"}]}', "unknown role", "'cat', expected one of user"),
        (b'{"messages": [{"role": "user"}]}', "wrong type", "messages[0].content is null"),
        (b'{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}', "wrong type", "'image_url'"),
        (b'{"messages": [{"role": "user", "content": [true]}]}', "wrong type", "true or false"),
        (b'{"messages": [{"role": "tool", "content": "a"}]}', "tool call", "messages[0]"),
        (b'{"messages": [{"role": "assistant", "content": null, "tool_calls": [{}]}]}', "tool call", ""),
    ],
)
def test_bad_lines_are_rejected_with_the_reason(line: bytes, kind: str, words: str) -> None:
    record = one(line)
    assert isinstance(record, Rejection)
    assert record.kind == kind
    assert record.reason.startswith(kind)
    assert words in record.reason


def test_the_text_of_a_rejection_is_short_and_printable() -> None:
    record = one(b"\xff" + "é".encode() * 10_000)
    assert isinstance(record, Rejection)
    assert record.text.startswith("\\xffééé")
    assert len(record.text) == 500
