"""Writing rows with replies as JSONL, CSV or Parquet, by the file's ending. A file appears whole or not at all."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from chatbot.errors import RejoinderError
from chatbot.whole_file import whole_file

_TOGETHER: Final = 4096


def check_target(target: Path) -> None:
    """Raise RejoinderError when the file at `target` could not be written in its format."""
    if not target.parent.is_dir():
        raise RejoinderError(f"{target}: cannot be written (no such directory)")
    if target.is_dir():
        raise RejoinderError(f"{target}: cannot be written (it is a directory)")
    if target.suffix.lower() == ".parquet":
        try:
            import pyarrow
        except ModuleNotFoundError:
            raise RejoinderError("Parquet needs pyarrow: pip install 'rejoinder[serve]'") from None
        del pyarrow


def write_rows(target: Path, rows: Callable[[], Iterator[str]]) -> None:
    """Write `rows`, each a JSON object, to `target`; anything that is neither .csv nor .parquet becomes JSONL.

    A cell of a CSV file that is neither text nor number nor nothing is JSON, and the column `reply` has the first
    reply's text. Raises RejoinderError when it cannot be written.
    """
    write = {".csv": _write_csv, ".parquet": _write_parquet}.get(target.suffix.lower(), _write_jsonl)
    try:
        with whole_file(target) as file:
            write(file, rows)
    except OSError as error:
        raise RejoinderError(f"{target}: cannot be written ({error.strerror})") from None


def _write_jsonl(file: BinaryIO, rows: Callable[[], Iterator[str]]) -> None:
    for row in rows():
        file.write(row.encode() + b"\n")


def _write_csv(file: BinaryIO, rows: Callable[[], Iterator[str]]) -> None:
    columns = dict.fromkeys(name for row in rows() for name in _flat(row))
    text = _Lines(file)
    writer = csv.DictWriter(text, list(columns), restval="")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in _flat(row).items()} for row in rows())


class _Lines:
    """What csv writes to: half a surrogate pair, passed on from some field, is written as its escape."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(text.encode("utf-8", "backslashreplace"))


def _flat(row: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(row)
    replies = value.get("replies") or [{}]
    return {**value, "reply": replies[0].get("text", "")}


def _cell(value: object) -> object:
    if value is None or (isinstance(value, str | int | float) and not isinstance(value, bool)):
        return value
    return json.dumps(value, ensure_ascii=False)


def _write_parquet(file: BinaryIO, rows: Callable[[], Iterator[str]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    types: dict[str, Any] = {}
    """Of each column; None where its values have no one type, which are written as JSON."""
    for part in _parts(rows()):
        for name in dict.fromkeys(name for row in part for name in row):
            try:
                found = pa.array([row.get(name) for row in part]).type
            except (pa.ArrowException, UnicodeError, OverflowError):
                found = None
            known = types.setdefault(name, found)
            if known is not None and known != found:
                types[name] = _joined(known, found)
    schema = pa.schema([(name, pa.string() if kind is None else kind) for name, kind in types.items()])
    with parquet.ParquetWriter(file, schema) as writer:
        for part in _parts(rows()):
            columns = [
                [row.get(name) if kind is not None or name not in row else json.dumps(row[name]) for row in part]
                for name, kind in types.items()
            ]
            writer.write_table(
                pa.table([pa.array(values, kind.type) for values, kind in zip(columns, schema, strict=True)], schema)
            )


def _joined(one: Any, other: Any) -> Any:
    """Return a type for values of both types, None when there is none."""
    import pyarrow as pa

    try:
        fields = [pa.schema([("value", kind)]) for kind in (one, other)]
        return pa.unify_schemas(fields, promote_options="permissive").field("value").type
    except (pa.ArrowException, TypeError):
        return None


def _parts(rows: Iterable[str]) -> Iterator[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    for row in rows:
        part.append(json.loads(row))
        if len(part) == _TOGETHER:
            yield part
            part = []
    if part:
        yield part
