"""The lines of a batch's file: found, counted and refused one by one."""

import json
from pathlib import Path

import pytest

from app.batches.lines import TOGETHER, Line, custom_id_of, failure, plan, read_lines, read_request
from app.batches.schemas import window_of
from app.errors import ServiceError, from_exception

BODY = {"model": "fake", "messages": [{"role": "user", "content": "hi"}]}
GOOD = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": BODY}


def line(value: object, number: int = 3) -> Line:
    return Line(number, value if isinstance(value, bytes) else json.dumps(value).encode())


def write(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"\n".join(lines))
    return path


def test_each_step_begins_where_the_plan_says(tmp_path: Path) -> None:
    """150 requests with a blank line before each: steps of 64 begin at requests 0, 64 and 128, lines 2, 130 and 258."""
    rows = [json.dumps({"custom_id": f"好 {i}"}, ensure_ascii=False).encode() for i in range(150)]
    path = write(tmp_path / "f", *(part for row in rows for part in (b" \r", row)))
    found = plan(path, 150)
    assert found.total == 150
    assert found.faults == []
    assert [number for _, number in found.starts] == [2, 130, 258]
    for step, (start, number) in enumerate(found.starts):
        part = rows[step * TOGETHER : (step + 1) * TOGETHER]
        lines = list(read_lines(path, start, number, TOGETHER))
        assert [one.raw.strip() for one in lines] == part
        assert [one.number for one in lines] == [2 * (step * TOGETHER + i) + 2 for i in range(len(part))]
    assert [one.raw.strip() for one in read_lines(path)] == rows


def test_what_spoils_the_file_as_a_whole(tmp_path: Path) -> None:
    one, two = b'{"custom_id": "a"}', b'{"custom_id": "b"}'
    [fault] = plan(write(tmp_path / "f", one, two, b"", b'  {"custom_id":"a"}'), 9).faults
    assert (fault.code, fault.line, fault.param) == ("duplicate_custom_id", 4, "custom_id")
    assert "line 1" in fault.message
    assert [fault.code for fault in plan(write(tmp_path / "f", b"", b"  "), 9).faults] == ["empty_file"]
    [fault] = plan(write(tmp_path / "f", *[two] * 4), 3).faults
    assert (fault.code, fault.line) == ("too_many_requests", 4)
    assert plan(write(tmp_path / "f", b"{", b"{", b"7"), 9).faults == []  # bad lines are answered one by one


@pytest.mark.parametrize(
    ("value", "param", "says"),
    [
        (b"{", None, "not JSON"),
        (b"\xff{}", None, "not UTF-8"),
        (b"[" * 100_000, None, "not JSON"),
        (b'{"n": ' + b"9" * 5000 + b"}", None, "not JSON"),
        (7, None, "JSON object"),
        ({**GOOD, "custom_id": ""}, "custom_id", "at least 1"),
        ({**GOOD, "custom_id": 7}, "custom_id", "string"),
        ({**GOOD, "method": "GET"}, "method", "POST"),
        ({**GOOD, "url": "/v1/embeddings"}, "url", "/v1/chat/completions"),
        ({**GOOD, "more": 1}, "more", "not a parameter"),
        ({**GOOD, "body": {"model": "fake"}}, "body.messages", "required"),
        ({**GOOD, "body": {**BODY, "n": 0}}, "body.n", "greater"),
        ({**GOOD, "body": {**BODY, "stream": True}}, "body.stream", "not streamed"),
        (
            {**GOOD, "body": {**BODY, "messages": [{"role": "user", "content": "\ud800"}]}},
            "body.messages[0].content",
            "",
        ),
        ({**GOOD, "body": {**BODY, "user": "x" * 5000}}, None, "at most 4000"),
    ],
)
def test_a_bad_line_is_refused_with_its_field(value: object, param: str | None, says: str) -> None:
    with pytest.raises(ServiceError) as caught:
        read_request(line(value), 10**6 if isinstance(value, bytes) else 4000)
    error = from_exception(caught.value)
    assert (error.status, error.param) == (400, param)
    assert says in error.message
    said = json.loads(failure("batch_x", line(value), error))
    assert said["error"]["line"] == 3
    assert said["error"]["message"] == f"line 3: {error.message}"
    assert said["response"]["body"]["error"]["message"] == error.message


def test_good_lines() -> None:
    request = read_request(line(GOOD), 4000)
    assert request.custom_id == "a"
    assert request.body.messages[0].text == "hi"
    assert custom_id_of(Line(1, b"\xef\xbb\xbf" + json.dumps(GOOD).encode())) == "a"
    assert custom_id_of(line({"custom_id": "\ud800"})) is None


def test_windows() -> None:
    seconds = {text: window.total_seconds() for text in ("24h", "90m", "30d", "5s") if (window := window_of(text))}
    assert seconds == {"24h": 86400, "90m": 5400, "30d": 2592000, "5s": 5}
    assert [window_of(text) for text in ("", "0h", "31d", "h", "1", "1.5h", "-1h", "٣h", "24h\n")] == [None] * 9
