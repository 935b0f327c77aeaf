"""The lines of a batch's file: finding them, reading one, saying what came of one. Knows JSON, no database."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from app.batches.schemas import BatchFault, LineRequest
from app.chat.schemas import Completion
from app.errors import BadRequestError, ServiceError, detail, from_exception
from app.wire import is_text

TOGETHER = 64
"""Lines answered in one step, which is done wholly or again."""
_MOST_FAULTS = 100


@dataclass(frozen=True)
class Line:
    """One request of the file, as it stands there."""

    number: int
    """From 1, blank lines counted."""
    raw: bytes


@dataclass(frozen=True)
class Plan:
    """The steps of a batch: where in the file each begins, or why there is nothing to be done."""

    total: int
    starts: list[tuple[int, int]]
    """Of each step, the place in bytes and the number of its first line."""
    faults: list[BatchFault]


def plan(path: Path, most: int) -> Plan:
    """Look through the file for what spoils it as a whole: no request, too many, two of one custom_id."""
    total = 0
    starts: list[tuple[int, int]] = []
    faults: list[BatchFault] = []
    first_of: dict[bytes, int] = {}
    with path.open("rb") as file:
        for place, line in _scan(file):
            if total == most:
                fault = f"the file has more than {most} requests"
                return Plan(0, [], [BatchFault(code="too_many_requests", line=line.number, message=fault)])
            if total % TOGETHER == 0:
                starts.append((place, line.number))
            total += 1
            custom_id = custom_id_of(line)
            if custom_id is None:
                continue
            key = hashlib.sha256(custom_id.encode()).digest()
            first = first_of.setdefault(key, line.number)
            if first != line.number and len(faults) < _MOST_FAULTS:
                message = f"line {line.number}: custom_id {custom_id[:100]!r} stands in line {first} already"
                faults.append(
                    BatchFault(code="duplicate_custom_id", line=line.number, message=message, param="custom_id")
                )
    if not total:
        faults.append(BatchFault(code="empty_file", message="the file has no requests"))
    return Plan(total, starts, faults)


def read_lines(path: Path, start: int = 0, number: int = 1, most: int | None = None) -> Iterator[Line]:
    """Yield up to `most` lines that are not blank, from the place `start` on, which is line `number`."""
    with path.open("rb") as file:
        file.seek(start)
        for count, (_, line) in enumerate(_scan(file, number)):
            if count == most:
                return
            yield line


def _scan(file: BinaryIO, number: int = 1) -> Iterator[tuple[int, Line]]:
    place = file.tell()
    for index, raw in enumerate(file, number):
        if raw.strip():
            yield place, Line(index, raw)
        place += len(raw)


def custom_id_of(line: Line) -> str | None:
    """Return the line's custom_id as far as it has one."""
    try:
        value = _load(line)
    except BadRequestError:
        return None
    found = value.get("custom_id") if isinstance(value, dict) else None
    return found if isinstance(found, str) and is_text(found) else None


def read_request(line: Line, longest: int) -> LineRequest:
    """Return the request in `line`. Raises ServiceError, which names the field, for what is no such request."""
    if len(line.raw) > longest:
        raise BadRequestError(f"{len(line.raw)} bytes; at most {longest} in one line", code="line_too_long")
    value = _load(line)
    if not isinstance(value, dict):
        raise BadRequestError("must be a JSON object", code="invalid_line")
    try:
        request = LineRequest.model_validate(value)
    except ValidationError as error:
        faults = [{**fault, "loc": ("line", *fault["loc"])} for fault in error.errors()]
        raise from_exception(RequestValidationError(faults)) from None
    if request.body.stream:
        raise BadRequestError("body.stream: a line of a batch is not streamed", param="body.stream")
    return request


def _load(line: Line) -> Any:
    try:
        return json.loads(line.raw.decode("utf-8-sig" if line.number == 1 else "utf-8"))
    except UnicodeDecodeError:
        raise BadRequestError("not UTF-8", code="invalid_utf8") from None
    except json.JSONDecodeError as error:
        raise BadRequestError(f"not JSON: {error.msg} at character {error.pos}", code="invalid_json") from None
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"not JSON that can be read ({error})", code="invalid_json") from None


def request_id(batch_id: str, number: int) -> str:
    """Return the name of one request of a batch."""
    return f"batch_req_{hashlib.sha256(f'{batch_id}/{number}'.encode()).hexdigest()[:32]}"


def success(batch_id: str, line: Line, custom_id: str, completion: Completion) -> str:
    """Return the line of the output file."""
    name = request_id(batch_id, line.number)
    response = {"status_code": 200, "request_id": name, "body": completion.model_dump()}
    return _dump({"id": name, "custom_id": custom_id, "response": response, "error": None})


def failure(batch_id: str, line: Line, error: ServiceError, *, begun: bool = True) -> str:
    """Return the line of the error file; `begun`: it was tried, and this is what HTTP would have answered."""
    name = request_id(batch_id, line.number)
    body = detail(error)
    said = body["error"]
    message = f"line {line.number}: {said['message']}"
    return _dump(
        {
            "id": name,
            "custom_id": custom_id_of(line),
            "response": {"status_code": error.status, "request_id": name, "body": body} if begun else None,
            "error": {
                "code": said["code"] or said["type"],
                "message": message,
                "param": said["param"],
                "line": line.number,
            },
        }
    )


def _dump(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
