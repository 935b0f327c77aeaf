"""Rows as bytes: JSON lines, CSV, Parquet. Each is written piece by piece, and can be read without any row too."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from app.exports.schemas import COLUMNS, Content, Format, Kind

if TYPE_CHECKING:
    import pyarrow as pa

_PIECE = 200
"""Rows written together; a row group of Parquet is ten of these."""


def encode(form: Format, kind: Kind, rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Yield `rows` of an export of `kind` in the format `form`."""
    yield from {"jsonl": _json_lines, "csv": _csv, "parquet": _parquet}[form](kind, rows)


def _together(rows: Iterable[dict[str, Any]], n: int) -> Iterator[list[dict[str, Any]]]:
    rest = iter(rows)
    while piece := list(islice(rest, n)):
        yield piece


def _json_lines(kind: Kind, rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    for piece in _together(rows, _PIECE):
        yield "".join(f"{_json(row)}\n" for row in piece).encode()


def _csv(kind: Kind, rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    columns = COLUMNS[kind]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for piece in _together(rows, _PIECE):
        writer.writerows([_cell(row[name], content) for name, content in columns.items()] for row in piece)
        yield _taken(text)
    yield _taken(text)


def _taken(text: io.StringIO) -> bytes:
    written = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return written


def _cell(value: Any, content: Content) -> object:
    if value is None:
        return ""
    if content in ("messages", "texts", "system", "json"):
        return _json(value)
    return str(value).lower() if content == "bool" else value


class _Sink(io.RawIOBase):
    """What Parquet is written to: a file that is sent as it grows."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, piece: Any) -> int:
        """Keep a piece until it is taken."""
        content = bytes(piece)
        self._pieces.append(content)
        self._written += len(content)
        return len(content)

    def tell(self) -> int:
        """Return how much was written."""
        return self._written

    def take(self) -> bytes:
        """Return what was written since the last time."""
        content = b"".join(self._pieces)
        self._pieces.clear()
        return content


def _parquet(kind: Kind, rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = COLUMNS[kind]
    schema = pa.schema([(name, _arrow_type(content)) for name, content in columns.items()])
    sink = _Sink()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for piece in _together(rows, 10 * _PIECE):
            plain = [{name: _arrow_value(row[name], content) for name, content in columns.items()} for row in piece]
            writer.write_table(pa.Table.from_pylist(plain, schema))
            yield sink.take()
    yield sink.take()


def _arrow_type(content: Content) -> "pa.DataType":
    import pyarrow as pa

    match content:
        case "int":
            return pa.int64()
        case "bool":
            return pa.bool_()
        case "messages":
            return pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
        case "texts":
            return pa.list_(pa.string())
        case "system":
            # Decodings differ in their fields from system to system, which a column of one type cannot hold.
            return pa.struct([(name, pa.string()) for name in ("name", "kind", "weights_sha256", "decoding")])
        case _:
            return pa.string()


def _arrow_value(value: Any, content: Content) -> Any:
    if value is None:
        return None
    if content == "json":
        return _json(value)
    return {**value, "decoding": _json(value["decoding"])} if content == "system" else value


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
