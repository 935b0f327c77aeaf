"""Reading an upload, `multipart/form-data`, as it comes in: fields are kept, the file's content goes to disk.

Knows the wire format and its limits, not what a file is for.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from app.errors import BadRequestError, ClientGoneError, TooLargeError

_MOST_FIELDS: Final = 16
_LONGEST_FIELD: Final = 1024
_PIECE: Final = 2**20
"""Bytes that are written at once: a thread for every packet would cost more than the writing."""


@dataclass
class Form:
    """What was sent."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    """None as long as no file has come."""


@dataclass
class _Part:
    """The part of the form that is being read."""

    name: str = ""
    is_file: bool = False
    headers: dict[str, bytes] = field(default_factory=dict)
    header_name: bytes = b""
    header_value: bytes = b""
    value: bytearray = field(default_factory=bytearray)


class _Reader:
    """Takes what the parser finds."""

    def __init__(self) -> None:
        self.form = Form()
        self.content = bytearray()
        """Of the file, and not on disk yet."""
        self.complete = False
        self._part = _Part()
        self._count = 0

    def callbacks(self) -> dict[str, Callable[..., None]]:
        """Return what the parser is to call."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._whole,
        }

    def _begin(self) -> None:
        self._part = _Part()
        self._count += 1
        if self._count > _MOST_FIELDS:
            raise BadRequestError(f"the form has more than {_MOST_FIELDS} fields", code="invalid_body")

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._part.header_name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._part.header_value += data[start:end]

    def _header_end(self) -> None:
        part = self._part
        part.headers[part.header_name.decode("latin-1").lower()] = part.header_value
        part.header_name = part.header_value = b""

    def _headers_finished(self) -> None:
        part = self._part
        _, options = parse_options_header(part.headers.get("content-disposition"))
        part.name = options.get(b"name", b"").decode("utf-8", "replace")
        part.is_file = b"filename" in options
        if not part.name:
            raise BadRequestError("a part of the form has no name", code="invalid_body")
        if part.is_file != (part.name == "file"):
            expected = "must be a file" if part.name == "file" else "is no file, and one was sent"
            raise BadRequestError(f"{part.name[:100]}: {expected}", param=part.name[:100], code="invalid_body")
        if part.is_file:
            if self.form.filename is not None:
                raise BadRequestError("file: only one can be sent", param="file", code="invalid_body")
            self.form.filename = options[b"filename"].decode("utf-8", "replace")
        elif part.name in self.form.fields:
            raise BadRequestError(f"{part.name[:100]}: was sent twice", param=part.name[:100], code="invalid_body")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part.is_file:
            self.content += data[start:end]
            return
        self._part.value += data[start:end]
        if len(self._part.value) > _LONGEST_FIELD:
            name = self._part.name[:100]
            raise BadRequestError(f"{name}: is longer than {_LONGEST_FIELD} bytes", param=name, code="invalid_body")

    def _end(self) -> None:
        if not self._part.is_file:
            self.form.fields[self._part.name] = self._part.value.decode("utf-8", "replace")

    def _whole(self) -> None:
        self.complete = True


async def read_upload(request: Request, write: Callable[[bytes], None], limit: int) -> Form:
    """Read the form in the body of `request`; the file's content is handed to `write`, in threads.

    Raises TooLargeError when it has more than `limit` bytes, BadRequestError when it is no such form, ClientGoneError
    when it stops half-way.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise BadRequestError("expected a form with a file, multipart/form-data", code="invalid_body")
    limit_of_body = limit + 64 * 1024  # the fields, and what frames them
    announced = request.headers.get("content-length", "")
    # A client that is refused while it still sends often sees a broken pipe and not our answer: read on a little.
    patience = 2 * limit_of_body
    if announced.isdecimal() and int(announced[:20]) > patience:
        raise _too_large(limit)
    reader = _Reader()
    length = 0
    size = 0
    fault: Exception | None = None
    try:
        parser = MultipartParser(options[b"boundary"], reader.callbacks())  # type: ignore[arg-type]
        async for chunk in _chunks(request):
            length += len(chunk)
            if length > patience:
                break
            if fault is not None:
                continue
            parser.write(chunk)
            if size + len(reader.content) > limit or length > limit_of_body:
                fault = _too_large(limit)
            elif len(reader.content) >= _PIECE:
                size += len(reader.content)
                await run_in_threadpool(write, bytes(reader.content))
                reader.content.clear()
        if fault is not None:
            raise fault
        parser.finalize()
    except FormParserError as error:
        raise BadRequestError(f"the form cannot be read ({error})", code="invalid_body") from None
    if not reader.complete:
        raise BadRequestError("the form ends before it is complete", code="invalid_body")
    await run_in_threadpool(write, bytes(reader.content))
    if reader.form.filename is None:
        raise BadRequestError("file: is required", param="file", code="missing")
    return reader.form


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(
        f"file: is longer than {limit} bytes", param="file", code="file_too_large", headers={"Connection": "close"}
    )


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError("the client has left before all was sent")
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return
