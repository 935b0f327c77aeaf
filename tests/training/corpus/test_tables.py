"""CSV and TSV: a dialogue in each row, a turn in each row, and what is wrong with a table."""

from collections.abc import Iterator

import pytest

from training.corpus.errors import CorpusError
from training.corpus.records import Message, RawDialogue, Record, Rejection
from training.corpus.tables import TableColumns, read_table

QA = TableColumns(turns=("question", "answer"))
BY_TURN = TableColumns(dialogue="d", text="t", speaker="s")


def table(text: str | bytes, columns: TableColumns = QA, delimiter: str = ",") -> list[Record]:
    raw = text.encode() if isinstance(text, str) else text
    return list(read_table("a.csv", iter(raw.splitlines(keepends=True)), delimiter, columns))


def turns(records: list[Record]) -> Iterator[tuple[int, list[str]]]:
    for record in records:
        assert isinstance(record, RawDialogue), record
        yield record.line, [message.text for message in record.messages]


def test_columns_are_taken_in_the_order_named_and_lines_are_where_a_row_begins() -> None:
    records = table('answer,x,question\nb,,a\n\n"two\nlines",,c\nd,,"say ""e"""\n')
    assert list(turns(records)) == [(2, ["a", "b"]), (4, ["c", "two\nlines"]), (6, ['say "e"', "d"])]


def test_tab_separated() -> None:
    assert list(turns(table("question\tanswer\na, b\tc\n", delimiter="\t"))) == [(2, ["a, b", "c"])]


def test_long_fields_are_read() -> None:
    long = "x" * 1_000_000
    assert list(turns(table(f"question,answer\n{long},b\n"))) == [(2, [long, "b"])]


def test_a_turn_a_row_is_gathered_by_the_dialogue_column() -> None:
    records = table("s,d,t\nann,1,a\nann,1,b\nbob,1,c\nann,2,d\nbob,2,e\n", BY_TURN)
    assert [record.messages for record in records if isinstance(record, RawDialogue)] == [
        (Message("ann", "a"), Message("ann", "b"), Message("bob", "c")),
        (Message("ann", "d"), Message("bob", "e")),
    ]


def test_without_a_speaker_column_speakers_alternate() -> None:
    (record,) = table("d,t\n1,a\n1,b\n1,c\n", TableColumns(dialogue="d", text="t"))
    assert isinstance(record, RawDialogue)
    assert [message.speaker for message in record.messages] == ["a", "b", "a"]


def test_a_bad_row_costs_its_dialogue_only() -> None:
    records = table("s,d,t\na,1,x\nb,1,y\na,2,x\nb,2\nc,2,z\na,3,x\nb,3,y\n", BY_TURN)
    assert [type(record) for record in records] == [RawDialogue, Rejection, RawDialogue]
    assert isinstance(records[1], Rejection)
    assert (records[1].line, records[1].kind, records[1].text) == (5, "wrong number of columns", "b,2")


def test_rows_of_a_dialogue_must_stand_together() -> None:
    records = table("s,d,t\na,1,x\nb,1,y\na,2,x\nb,2,y\na,1,z\nb,1,z\n", BY_TURN)
    assert [type(record) for record in records] == [RawDialogue, RawDialogue, Rejection]
    assert isinstance(records[2], Rejection)
    assert (records[2].line, records[2].kind) == (6, "scattered dialogue")
    assert "line 2" in records[2].reason


@pytest.mark.parametrize(
    ("rows", "line", "kind"),
    [
        (b"a\n", 2, "wrong number of columns"),
        (b"a,b,c\n", 2, "wrong number of columns"),
        (b"caf\xe9,b\n", 2, "not UTF-8"),
        (b'"a"b,c\n', 2, "broken table"),
        (b'a,b\n"open,c\nd,e\n', 3, "broken table"),
    ],
)
def test_bad_rows(rows: bytes, line: int, kind: str) -> None:
    rejections = [r for r in table(b"question,answer\n" + rows) if isinstance(r, Rejection)]
    assert [(r.line, r.kind) for r in rejections] == [(line, kind)]


def test_the_byte_that_is_not_utf8_is_told() -> None:
    (rejection,) = table(b"question,answer\ncaf\xe9,b\n")
    assert isinstance(rejection, Rejection)
    assert "0xe9" in rejection.reason
    assert rejection.text == "caf\\xe9,b"


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        ("q,a\n1,2\n", QA, "a.csv: the column 'question' is missing; the columns found are: q, a"),
        ("question,answer,answer\n", QA, "'answer' is twice or more"),
        ("question;answer\n", QA, "the columns found are: question;answer"),
        ("question,answer\n", TableColumns(), "name the columns .* found are: question, answer"),
        ("", QA, "empty table"),
        (b"caf\xe9\n", QA, "the column 'question' is missing"),
        ('"q\n', QA, "a.csv:1: the header cannot be read"),
        ("", TableColumns(turns=("a",)), "one column named"),
        ("", TableColumns(dialogue="a"), "needs the dialogue column and the text column"),
        ("", TableColumns(turns=("a", "b"), text="c"), "not both"),
    ],
)
def test_a_table_that_cannot_be_read_at_all(text: str | bytes, columns: TableColumns, words: str) -> None:
    with pytest.raises(CorpusError, match=words):
        table(text, columns)
