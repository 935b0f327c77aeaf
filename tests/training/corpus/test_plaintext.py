"""Plain text: one turn a line, blank lines between dialogues."""

from training.corpus.plaintext import read_plaintext
from training.corpus.records import RawDialogue, Rejection


def test_blocks_are_dialogues_and_know_their_first_line() -> None:
    text = "\n\na\nb\r\nc\n \t\n\nd\n你好".encode()
    records = list(read_plaintext(text.splitlines(keepends=True)))
    assert [
        (record.line, [message.text for message in record.messages])
        for record in records
        if isinstance(record, RawDialogue)
    ] == [(3, ["a", "b", "c"]), (8, ["d", "你好"])]


def test_a_bad_line_costs_its_dialogue_and_is_named() -> None:
    records = list(read_plaintext([b"a\n", b"b\n", b"\n", b"c\n", b"\xff\n", b"\n", b"d\n", b"e\n"]))
    assert [type(record) for record in records] == [RawDialogue, Rejection, RawDialogue]
    assert isinstance(records[1], Rejection)
    assert (records[1].line, records[1].kind, records[1].text) == (5, "not UTF-8", "\\xff")


def test_an_empty_file_has_no_dialogue() -> None:
    assert list(read_plaintext([])) == []
