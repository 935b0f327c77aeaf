"""Reading files of contexts: JSONL, CSV or Parquet, by the file's ending. Knows files and turns, not models."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatbot.errors import RejoinderError


class ContextError(RejoinderError):
    """A line of a file of contexts cannot be answered."""


@dataclass(frozen=True)
class Line:
    """One context: its turns, and all that stood in its line."""

    number: int
    turns: list[str]
    row: dict[str, Any]


def read_contexts(source: Path) -> Iterator[Line]:
    """Yield the contexts of `source`; anything that is neither .csv nor .parquet is read as JSONL.

    A row has `turns` (oldest first), OpenAI `messages`, or `text`, a single turn; in CSV, lists are written as JSON.
    Empty lines are skipped. Raises ContextError naming file and line, in a Parquet file the row.
    """
    read = {".csv": _read_csv, ".parquet": _read_parquet}.get(source.suffix.lower(), _read_jsonl)
    found = False
    try:
        for number, row, where in read(source):
            found = True
            yield Line(number, _turns(row, where), row)
    except OSError as error:
        raise ContextError(f"{source}: cannot be read ({error.strerror or error})") from None
    if not found:
        raise ContextError(f"{source}: no contexts, expected one in each line")


_Rows = Iterator[tuple[int, Any, str]]


def _read_jsonl(source: Path) -> _Rows:
    for number, raw in enumerate(source.read_bytes().split(b"\n"), 1):
        if not raw.strip():
            continue
        where = f"{source}, line {number}"
        try:
            row = json.loads(raw.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise ContextError(f"{where}: not UTF-8") from None
        except (ValueError, RecursionError) as error:
            raise ContextError(f"{where}: not JSON ({error})") from None
        yield number, row, where


def _read_csv(source: Path) -> _Rows:
    try:
        text = source.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ContextError(f"{source}: not UTF-8 (at byte {error.start})") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] = []
    last = 0
    try:
        for cells in reader:
            number, last = last + 1, reader.line_num
            if not cells:
                continue
            where = f"{source}, line {number}"
            if not columns:
                columns = cells
                if len(set(columns)) < len(columns):
                    raise ContextError(f"{where}: two columns have the same name")
                continue
            if len(cells) != len(columns):
                raise ContextError(f"{where}: {len(cells)} cells, expected {len(columns)} as in the first line")
            row: dict[str, Any] = dict(zip(columns, cells, strict=True))
            for name in ("turns", "messages"):
                if name in row:
                    row[name] = _list_in(row[name], name, where)
            yield number, row, where
    except csv.Error as error:
        raise ContextError(f"{source}, line {reader.line_num}: not CSV ({error})") from None


def _list_in(cell: str, name: str, where: str) -> object:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        raise ContextError(f"{where}: `{name}` is {cell[:60]!r}, expected a list as JSON") from None


def _read_parquet(source: Path) -> _Rows:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise RejoinderError("Parquet needs pyarrow: pip install 'rejoinder[serve]'") from None
    try:
        with source.open("rb") as opened, parquet.ParquetFile(opened) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, _as_json(row), f"{source}, row {number}"
    except (pa.ArrowException, UnicodeError, OverflowError) as error:  # text that is none, dates that Python has not
        raise ContextError(f"{source}: not Parquet that can be read ({error})") from None


def _as_json(value: Any) -> Any:
    """Return `value` as JSON can hold it: a date or a decimal becomes its text."""
    if isinstance(value, dict):
        return {str(key): _as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(inner) for inner in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _turns(row: object, where: str) -> list[str]:
    if not isinstance(row, dict) or not row.keys() & {"turns", "messages", "text"}:
        raise ContextError(f"{where}: expected `turns` (a list of texts), `messages`, or `text`")
    if "turns" in row:
        turns = row["turns"]
    elif "messages" in row:
        messages = row["messages"]
        if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
            raise ContextError(f"{where}: `messages` is not a list of objects")
        turns = [m.get("content") for m in messages if m.get("role") != "system"]
    else:
        turns = [row["text"]]
    if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
        raise ContextError(f"{where}: a turn is not a text")
    return turns
