"""What stands in the log of each request, and above all what never does."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.database import Database
from app.keys.schemas import KeyRequest
from app.keys.service import create
from app.logs import configure_logging
from app.security_headers import SECURITY_HEADERS
from app.settings import Settings
from tests.app.fakes import FakeBot, app_of

SECRET = "xyzzy-nobody-may-read-this"
BODY = {"model": "fake", "messages": [{"role": "user", "content": "hello"}]}


class Terminal(io.StringIO):
    """A stream that says that somebody reads it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def logged() -> Iterator[Callable[..., io.StringIO]]:
    """Give a function that sends the log of this process into a stream; all is as before afterwards."""
    root = logging.getLogger()
    names = ("", "app", "chatbot", "rejoinder", "dbos", "asgi_correlation_id")
    handlers, dbos = root.handlers[:], logging.getLogger("dbos").handlers[:]
    levels = {name: logging.getLogger(name).level for name in names}

    def start(stream: io.StringIO | None = None, **settings: Any) -> io.StringIO:
        stream = io.StringIO() if stream is None else stream
        configure_logging(Settings(**settings), stream)
        return stream

    yield start
    root.handlers[:] = handlers
    logging.getLogger("dbos").handlers[:] = dbos
    logging.captureWarnings(False)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def requests(stream: io.StringIO) -> list[dict[str, Any]]:
    return [line for line in lines(stream) if line["event"] == "request"]


def test_one_line_says_what_came_of_a_request(logged: Callable[..., io.StringIO], client: TestClient) -> None:
    stream = logged()
    answer = client.post("/v1/chat/completions", json={**BODY, "n": 3}, headers={"X-Request-ID": "job-7.a"})
    assert answer.headers.get_list("x-request-id") == ["job-7.a"]
    [line] = requests(stream)
    assert list(line)[:5] == ["time", "level", "event", "logger", "request_id"]
    assert line["time"].endswith("Z")
    assert line["duration_ms"] > 0
    del line["time"], line["duration_ms"]
    assert line == {
        "level": "info",
        "event": "request",
        "logger": "app.request_log",
        "request_id": "job-7.a",
        "method": "POST",
        "route": "/v1/chat/completions",
        "status": 200,
        "model": "fake",
        "tokens": 15,
    }


def test_a_stream_is_logged_when_it_ends_and_says_what_failed(
    logged: Callable[..., io.StringIO], client: TestClient
) -> None:
    stream = logged()
    with client.stream("POST", "/v1/chat/completions", json={**BODY, "stream": True}) as answer:
        answer.read()
    broken = {**BODY, "messages": [{"role": "user", "content": "break down"}], "stream": True}
    client.post("/v1/chat/completions", json=broken)
    client.get("/v1/models/nothing")
    found = [(line["route"], line["status"], line.get("tokens"), line.get("error")) for line in requests(stream)]
    assert found == [
        ("/v1/chat/completions", 200, 5, None),
        ("/v1/chat/completions", 500, None, "generation_failed"),
        ("/v1/models/{model}", 404, None, "model_not_found"),
    ]


def test_what_machines_ask_every_few_seconds_is_told_at_level_debug(
    logged: Callable[..., io.StringIO], client: TestClient
) -> None:
    stream = logged()
    for path in ("/health/live", "/health/ready", "/metrics", "/static/layout.css"):
        assert client.get(path).status_code == 200
    assert requests(stream) == []
    stream = logged(log_level="debug")
    for path in ("/health/live", "/static/layout.css", "/static/none.css"):
        client.get(path)
    assert [(line["route"], line["status"]) for line in requests(stream)] == [
        ("/health/live", 200),
        ("/static/{path}", 200),
        ("/static/{path}", 404),
    ]


@pytest.mark.parametrize("given", ["", "a b", "a\tb", "é", "-a", "a" * 65, "../x", '{"a":1}'])
def test_an_id_that_is_none_is_replaced_and_never_repeated(
    logged: Callable[..., io.StringIO], client: TestClient, given: str
) -> None:
    stream = logged(log_level="debug")
    answer = client.get("/health/live", headers={"X-Request-ID": given.encode("latin-1")})
    [made] = answer.headers.get_list("x-request-id")
    assert made != given
    assert len(made) == 32
    [line] = lines(stream)
    assert line["request_id"] == made


def test_every_answer_has_an_id(client: TestClient, tmp_path: Path) -> None:
    assert client.get("/nothing").headers["x-request-id"]
    assert client.post("/v1/ratings", content=b"x" * 2_000_000).headers["x-request-id"]
    with TestClient(app_of(Settings(state=tmp_path / "b"), FakeBot()), raise_server_exceptions=False) as broken:
        broken.app.state.chat = None  # type: ignore[attr-defined]
        answer = broken.get("/v1/models", headers={"X-Request-ID": "fault-1"})
    assert (answer.status_code, answer.headers.get_list("x-request-id")) == (500, ["fault-1"])
    assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS


def test_texts_secrets_and_addresses_never_reach_the_log(logged: Callable[..., io.StringIO], tmp_path: Path) -> None:
    """Every route of the document is sent the secret wherever a client can put one, and then real conversations are."""
    stream = logged(log_level="debug")
    settings = Settings(state=tmp_path, database_password=f"password-{SECRET}", database_url=None)
    client = TestClient(app_of(settings, FakeBot()), raise_server_exceptions=False, client=("203.0.113.77", 4321))
    headers = {
        "Authorization": f"Bearer {SECRET}",
        "Cookie": f"session={SECRET}; visitor={SECRET}",
        "Idempotency-Key": SECRET,
        "User-Agent": SECRET,
        "X-Request-ID": f"{SECRET} {SECRET}",
        "X-Forwarded-For": "198.51.100.9",
        "Referer": f"http://testserver/{SECRET}",
    }
    sent = 0
    with client:
        for path, methods in client.app.openapi()["paths"].items():  # type: ignore[attr-defined]
            filled = path
            while "{" in filled:
                filled = filled[: filled.index("{")] + SECRET + filled[filled.index("}") + 1 :]
            for method in methods:
                for content in (
                    {"json": {"text": SECRET, "model": SECRET}},
                    {"content": SECRET},
                    {"data": {"a": SECRET}},
                ):
                    client.request(method.upper(), f"{filled}?q={SECRET}", headers=headers, **content)  # type: ignore[arg-type]
                    sent += 1
        said = [{"role": "user", "content": SECRET}]
        for body in ({"model": "fake", "messages": said}, {"model": "fake", "messages": said, "stream": True}):
            assert client.post("/v1/chat/completions", json=body, headers=headers).status_code == 200
        reply = client.post("/v1/replies", json={"model": "fake", "contexts": [[SECRET]]}, headers=headers).json()
        reply_id = reply["data"][0]["replies"][0]["reply_id"]
        rated = client.post("/v1/ratings", json={"reply_id": reply_id, "thumb": 1, "comment": SECRET}, headers={})
        assert rated.status_code == 201
        for text in (f"break down {SECRET}", f"refuse me {SECRET}"):
            body = {"model": "fake", "messages": [{"role": "user", "content": text}]}
            assert client.post("/v1/chat/completions", json=body).status_code in (400, 500)

        # A fault of ours whose message quotes what was said.
        async def fail(body: Any) -> None:
            raise ValueError(f"cannot read {body.messages[0].text}")

        client.app.state.chat.complete = fail  # type: ignore[attr-defined]
        assert client.post("/v1/chat/completions", json={"model": "fake", "messages": said}).status_code == 500
    text = stream.getvalue()
    assert len(requests(stream)) >= sent + 7
    assert sent > 100
    assert "Traceback" in text  # of the fault
    assert SECRET not in text
    assert "203.0.113.77" not in text
    assert "198.51.100.9" not in text


def test_a_line_is_a_line_whatever_is_in_it(logged: Callable[..., io.StringIO]) -> None:
    stream = logged()
    evil = 'x\n{"level": "info", "event": "forged"}\r\u2028\x1b[31mred'
    logging.getLogger("app.test").warning("found %s", evil)
    [line] = lines(stream)
    assert line["event"] == f"found {evil}"
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().isascii()


def test_lines_within_a_request_carry_its_id_and_its_key(
    logged: Callable[..., io.StringIO], client: TestClient
) -> None:
    from app.request_facts import note

    async def noticed(*_: object) -> None:
        note(key_id="key-3")
        logging.getLogger("app.test").warning("something")

    client.app.state.chat.complete = noticed  # type: ignore[attr-defined]
    stream = logged()
    with pytest.raises(Exception, match="response"):
        client.post("/v1/chat/completions", json=BODY, headers={"X-Request-ID": "one"})
    inner, *_, request = [line for line in lines(stream) if line["level"] != "error"]
    assert (inner["event"], inner["request_id"], inner["key_id"]) == ("something", "one", "key-3")
    assert (request["request_id"], request["key_id"]) == ("one", "key-3")


def test_a_key_is_named_by_its_number_and_its_secret_by_nobody(
    logged: Callable[..., io.StringIO], tmp_path: Path
) -> None:
    with TestClient(app_of(Settings(state=tmp_path, host="0.0.0.0"), FakeBot())) as client:
        database: Database = client.app.state.database  # type: ignore[attr-defined]
        with database.writing() as session:
            key = create(session, KeyRequest(scopes=["chat"], name="shop"))
        stream = logged()
        for secret, status in ((key.secret, 200), (f"{key.secret}x", 401)):
            headers = {"Authorization": f"Bearer {secret}"}
            assert client.post("/v1/chat/completions", json=BODY, headers=headers).status_code == status
    assert [(line["status"], line.get("key_id")) for line in requests(stream)] == [(200, key.id), (401, None)]
    assert key.secret not in stream.getvalue()


def test_a_terminal_gets_lines_for_people_and_no_values_of_variables(logged: Callable[..., io.StringIO]) -> None:
    stream = logged(Terminal())
    hidden = SECRET
    try:
        raise ValueError(f"cannot read {hidden}")
    except ValueError:
        logging.getLogger("app.test").exception("it failed")
    text = stream.getvalue()
    assert "it failed" in text
    assert "Traceback" in text
    assert "ValueError" in text
    assert SECRET not in text
    with pytest.raises(json.JSONDecodeError):
        lines(stream)
    assert lines(logged(Terminal(), log_format="json")) == []


def test_libraries_log_through_the_same_lines(logged: Callable[..., io.StringIO]) -> None:
    from dbos._logger import init_logger

    stream = logged()
    init_logger()  # as DBOS does when it starts: it adds no handler of its own beside ours
    for name in ("uvicorn.error", "dbos", "sqlalchemy.pool", "chatbot.engine"):
        logging.getLogger(name).warning("from %s", name)
        logging.getLogger(name).debug("not this")
    assert [line["event"] for line in lines(stream)] == [
        "from uvicorn.error",
        "from dbos",
        "from sqlalchemy.pool",
        "from chatbot.engine",
    ]
