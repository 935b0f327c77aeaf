"""Dialogues from CSV and TSV: one dialogue a row, or one turn a row. Knows the columns' names from its caller only.

Quotes follow the rules of CSV in both, and strictly: a stray quote is a rejected record, never a silently joined one.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from training.corpus.errors import CorpusError
from training.corpus.records import BadRecordError, Message, RawDialogue, Record, Rejection, alternating

LONGEST_FIELD: Final = 16 * 1024 * 1024
"""Characters. Python's own limit of 131,072 refuses long messages; with none, one open quote would eat the file."""


@dataclass(frozen=True)
class TableColumns:
    """Which columns hold what: either `turns`, or `dialogue` and `text` (and `speaker`)."""

    turns: tuple[str, ...] = ()
    dialogue: str | None = None
    text: str | None = None
    speaker: str | None = None

    def named(self) -> tuple[str, ...]:
        """Return the names that the header must have. Raises CorpusError when they make no sense together."""
        by_row = tuple(name for name in (self.dialogue, self.text, self.speaker) if name is not None)
        if self.turns and by_row:
            raise CorpusError("name either the columns of the turns, or the dialogue and text columns, not both")
        if self.turns:
            if len(self.turns) < 2:
                raise CorpusError(f"one column named for the turns ({self.turns[0]!r}), expected two or more")
            return self.turns
        if by_row and (self.dialogue is None or self.text is None):
            raise CorpusError(
                "one turn a row needs the dialogue column and the text column (the speaker's is optional)"
            )
        return by_row


def read_table(name: str, lines: Iterable[bytes], delimiter: str, columns: TableColumns) -> Iterator[Record]:
    """Yield the dialogues and rejections of the table `name`, whose first row is the header.

    Raises CorpusError when no columns are named, or the header lacks one: names the columns found.
    """
    wanted = columns.named()
    rows = _rows(lines, delimiter)
    header = next(rows, None)
    if header is None:
        raise CorpusError(f"{name}: an empty table, expected a header with the columns' names")
    if isinstance(header, Rejection):
        raise CorpusError(f"{name}:{header.line}: the header cannot be read ({header.reason})")
    found = ", ".join(header.cells)
    if not wanted:
        raise CorpusError(f"{name}: name the columns that hold the turns, in order; the columns found are: {found}")
    for column in wanted:
        if header.cells.count(column) != 1:
            many = "twice or more" if column in header.cells else "missing"
            raise CorpusError(f"{name}: the column {column!r} is {many}; the columns found are: {found}")
    places = [header.cells.index(column) for column in wanted]
    sound = _checked(rows, len(header.cells))
    return _one_a_row(sound, places) if columns.turns else _turn_a_row(sound, places)


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    cells: list[str]

    def excerpt(self) -> bytes:
        return ",".join(self.cells).encode("utf-8", "surrogateescape")


def _rows(lines: Iterable[bytes], delimiter: str) -> Iterator[_Row | Rejection]:
    """Yield rows that are not blank, each with the line it begins on; bytes that are not UTF-8 become surrogates."""
    if csv.field_size_limit() < LONGEST_FIELD:
        csv.field_size_limit(LONGEST_FIELD)
    texts = (line.decode("utf-8", "surrogateescape") for line in lines)
    reader = csv.reader(texts, delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # The reader starts afresh on the next line.
            yield Rejection.of(
                start, BadRecordError("broken table", f"lines {start} to {reader.line_num}: {error}"), ""
            )
            continue
        if cells:
            yield _Row(start, cells)


def _checked(rows: Iterator[_Row | Rejection], width: int) -> Iterator[_Row | Rejection]:
    for row in rows:
        if isinstance(row, _Row):
            try:
                _check(row, width)
            except BadRecordError as error:
                yield Rejection.of(row.line, error, row.excerpt())
                continue
        yield row


def _check(row: _Row, width: int) -> None:
    try:
        "".join(row.cells).encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRecordError("not UTF-8", f"byte {ord(error.object[error.start]) - 0xDC00:#04x}") from None
    if len(row.cells) != width:
        raise BadRecordError("wrong number of columns", f"{len(row.cells)}, expected {width} as in the header")


def _one_a_row(rows: Iterator[_Row | Rejection], places: list[int]) -> Iterator[Record]:
    for row in rows:
        if isinstance(row, Rejection):
            yield row
        else:
            yield RawDialogue(row.line, alternating([row.cells[place] for place in places]))


def _turn_a_row(rows: Iterator[_Row | Rejection], places: list[int]) -> Iterator[Record]:
    """Gather neighbouring rows with the same dialogue cell; a bad row costs the dialogue that it stands in."""
    begun: dict[str, int] = {}
    current: str | None = None
    gathered: list[_Row] = []
    fault: Rejection | None = None

    def finished() -> Iterator[Record]:
        if fault is not None:
            yield fault
        elif gathered:
            texts = [row.cells[places[1]] for row in gathered]
            if len(places) == 3:
                messages = tuple(Message(row.cells[places[2]], text) for row, text in zip(gathered, texts, strict=True))
            else:
                messages = alternating(texts)
            yield RawDialogue(gathered[0].line, messages)

    for row in rows:
        if isinstance(row, Rejection):
            if current is None:
                yield row
            else:
                # To which dialogue an unreadable row belongs is unknown: the one around it is not whole any more.
                fault = fault or row
            continue
        key = row.cells[places[0]]
        if key != current:
            yield from finished()
            current, gathered, fault = key, [], None
            if key in begun:
                again = f"{key[:80]!r} was finished before, begun in line {begun[key]}; its rows must stand together"
                fault = Rejection.of(row.line, BadRecordError("scattered dialogue", again), row.excerpt())
            begun.setdefault(key, row.line)
        gathered.append(row)
    yield from finished()
