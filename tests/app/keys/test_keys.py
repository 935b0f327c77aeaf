"""Keys: made, listed, revoked; remembered for seconds; looked up by their hash; carried by a browser's cookie."""

import hashlib
import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import openai
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from app.access.guard import COOKIE
from app.audit.tables import AuditEvent
from app.database import Database, now
from app.errors import NotFoundError, UnauthorizedError
from app.keys import commands, keyring, service
from app.keys.keyring import Keyring
from app.keys.schemas import KeyRequest
from app.keys.tables import ApiKey, SignIn
from app.settings import Settings
from chatbot.errors import RejoinderError
from tests.app.conftest import Serving
from tests.app.fakes import FakeBot, app_of
from tests.app.owners import PUBLIC, bearer, key_headers, new_key, revoked_key

PAGE = {"Accept": "text/html"}


def made(database: Database, *scopes: str, hours: int | None = None) -> tuple[int, str]:
    with database.writing() as session:
        key = service.create(session, KeyRequest.model_validate({"scopes": list(scopes), "expires_in_hours": hours}))
    return key.id, key.secret


def test_a_secret_is_told_once_and_stored_as_a_hash(database: Database) -> None:
    key_id, secret = made(database, "admin", "chat")
    assert re.fullmatch(r"rj-[A-Za-z0-9_-]{43}", secret)
    with database.reading() as session:
        row = session.get_one(ApiKey, key_id)
        assert row.secret_sha256 == hashlib.sha256(secret.encode()).hexdigest()
        assert row.prefix == secret[:9]
        assert row.scopes == ["chat", "admin"]
        [entry] = service.list_keys(session)
        assert secret not in entry.model_dump_json()
        stored = [str(value) for value in session.execute(sa.text("select * from api_key")).one()]
    assert not any(secret in value for value in stored)


def test_making_and_revoking_is_audited(database: Database) -> None:
    key_id, secret = made(database, "chat", "rate")
    with database.writing() as session:
        first = service.revoke(session, key_id)
    with database.writing() as session:
        assert service.revoke(session, key_id) == first  # a second time changes nothing
        with pytest.raises(NotFoundError):
            service.revoke(session, key_id + 1)
    with database.reading() as session:
        events = session.scalars(sa.select(AuditEvent).order_by(AuditEvent.id)).all()
        assert [(one.actor, one.action, one.object, one.detail) for one in events] == [
            ("owner", "create_key", f"key/{key_id}", {"scopes": "chat,rate"}),
            ("owner", "revoke_key", f"key/{key_id}", {}),
        ]
        assert secret[:9] not in str([one.detail for one in events])


class Watched(Database):
    """A database that tells how often it was read, and by which statements."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.statements: list[tuple[str, Any]] = []
        sa.event.listen(self.engine, "before_cursor_execute", self._note)

    def _note(self, connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        self.statements.append((statement, parameters))


@pytest.fixture
def watched(database: Database, database_url: str) -> Any:
    watched = Watched(database_url)
    yield watched
    watched.close()


@pytest.mark.anyio
async def test_a_key_is_looked_up_by_its_hash_alone(watched: Watched) -> None:
    """No time tells how near a guess is: the secret itself meets nothing that compares."""
    _, secret = made(watched, "chat")
    watched.statements.clear()
    caller = await Keyring(watched).by_secret(secret)
    assert caller.scopes == {"chat"}
    [(statement, parameters)] = [one for one in watched.statements if "api_key" in one[0]]
    assert re.search(r"WHERE\s+api_key\.secret_sha256 = ", statement)
    told = list(parameters.values()) if isinstance(parameters, dict) else list(parameters)
    assert told == [hashlib.sha256(secret.encode()).hexdigest()]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_key_is_remembered_for_seconds_and_a_revoked_one_no_longer(watched: Watched) -> None:
    key_id, secret = made(watched, "chat")
    at = 1000.0
    ring = Keyring(watched, lambda: at)
    await ring.by_secret(secret)
    watched.statements.clear()
    for _ in range(100):
        assert (await ring.by_secret(secret)).key_id == key_id
    assert watched.statements == []
    with watched.writing() as session:
        service.revoke(session, key_id)
    assert (await ring.by_secret(secret)).key_id == key_id  # not heard of yet
    at += keyring.REMEMBERED
    with pytest.raises(UnauthorizedError, match="revoked"):
        await ring.by_secret(secret)
    assert keyring.REMEMBERED <= 5


@pytest.mark.anyio
async def test_an_expired_key_is_refused_at_once_though_remembered(watched: Watched) -> None:
    _, secret = made(watched, "chat", hours=1)
    with watched.writing() as session:
        session.execute(sa.update(ApiKey).values(expires_at=now() + timedelta(seconds=0.3)))
    ring = Keyring(watched, lambda: 0.0)
    await ring.by_secret(secret)
    time.sleep(0.35)
    with pytest.raises(UnauthorizedError, match="expired"):
        await ring.by_secret(secret)


@pytest.mark.anyio
async def test_wrong_secrets_fill_no_memory(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "_MOST", 10)
    ring = Keyring(watched)
    for number in range(30):
        with pytest.raises(UnauthorizedError):
            await ring.by_secret(f"guess {number}")
    assert len(ring._memories) == 10
    watched.statements.clear()
    with pytest.raises(UnauthorizedError):
        await ring.by_secret("guess 29")
    assert watched.statements == []


def test_the_command_line(tmp_path: Path, database_url: str, database: Database) -> None:
    where = {"state": tmp_path, "database_url": database_url}
    assert "no key yet" in commands.list_all(**where)
    said = commands.create("rate, chat", "90d", "the web shop", **where)
    secret = said.splitlines()[0]
    assert "(chat, rate)" in said
    [head, row] = commands.list_all(**where).splitlines()
    assert head.split()[:4] == ["id", "key", "scopes", "state"]
    assert row.split()[1:4] == [f"{secret[:9]}...", "chat,rate", "works"]
    assert row.endswith("the web shop")
    assert secret not in row
    key_id = int(row.split()[0])
    assert "revoked" in commands.revoke(key_id, **where)
    assert commands.list_all(**where).splitlines()[1].split()[3] == "revoked"
    with database.reading() as session:
        [entry] = service.list_keys(session)
    assert entry.expires is not None
    assert entry.expires - entry.created == 90 * 24 * 3600
    for scopes, expires, fault in (
        ("", None, "--scope is empty"),
        ("chat,root", None, "--scope has 'root'; expected some of chat, rate, metrics, admin"),
        ("chat", "soon", "--expires is 'soon'; expected a number and h, d or w"),
        ("chat", "0d", "--expires"),
        ("chat", "999999w", "--expires"),
    ):
        with pytest.raises(RejoinderError, match=re.escape(fault)):
            commands.create(scopes, expires, "", **where)
    with pytest.raises(RejoinderError, match="there is no key 99"):
        commands.revoke(99, **where)
    with database.reading() as session:
        assert len(service.list_keys(session)) == 1


def test_openais_client_hears_what_it_knows(serve: Serving, tmp_path: Path) -> None:
    settings = Settings(state=tmp_path, **PUBLIC)
    app = app_of(settings, FakeBot())
    address = f"{serve(app, settings)}/v1"
    key = new_key(app, "chat")
    messages: Any = [{"role": "user", "content": "hello"}]

    def official(secret: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=address, api_key=secret, max_retries=0)

    with official(key.secret) as client:
        assert client.chat.completions.create(model="fake", messages=messages).choices[0].message.content
    with official("sk-wrong") as client, pytest.raises(openai.AuthenticationError) as refused:
        client.chat.completions.create(model="fake", messages=messages)
    assert refused.value.code == "invalid_api_key"
    with official(revoked_key(app, "chat")) as client, pytest.raises(openai.AuthenticationError, match="revoked"):
        client.models.list()
    with (
        official(new_key(app, "rate").secret) as client,
        pytest.raises(openai.PermissionDeniedError, match="scope chat"),
    ):
        client.models.list()


def test_when_a_key_was_used_is_noted_by_the_hour(any_guarded: TestClient, rows: Callable) -> None:
    headers = key_headers(any_guarded, "chat")
    for _ in range(3):
        any_guarded.get("/v1/models", headers=headers)
    end = time.monotonic() + 10
    while rows(any_guarded, "api_key")[0]["last_used_at"] is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    database: Database = any_guarded.app.state.database  # type: ignore[attr-defined]
    with database.reading() as session:
        used = session.scalars(sa.select(ApiKey.last_used_at)).one()
    assert used is not None
    assert (used.minute, used.second, used.microsecond) == (0, 0, 0)
    assert now() - used < timedelta(hours=1, minutes=1)


@pytest.fixture
def any_guarded(start: Callable[..., TestClient], bot: FakeBot, database_url: str) -> TestClient:
    return start(bot, database_url=database_url, **PUBLIC)


def sign_in(client: TestClient, secret: str, **more: str) -> Any:
    return client.post("/sign-in", data={"key": secret, **more}, headers=PAGE, follow_redirects=False)


def test_a_browser_signs_in_once(any_guarded: TestClient, rows: Callable) -> None:
    client = any_guarded
    key = new_key(client, "chat")
    led = client.get("/batches?lang=en", headers=PAGE)
    assert (led.status_code, led.url.path) == (200, "/sign-in")
    assert 'name="next" value="/batches?lang=en"' in led.text
    wrong = sign_in(client, "rj-nonsense")
    assert wrong.status_code == 401
    assert 'role="alert"' in wrong.text
    assert COOKIE not in client.cookies

    done = sign_in(client, f" {key.secret} ", next="/batches")
    assert (done.status_code, done.headers["location"]) == (303, "/batches")
    cookie = done.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert key.secret not in cookie
    token = client.cookies[COOKIE]
    assert token not in str(rows(client, "sign_in"))

    page = client.get("/batches", headers=PAGE)
    assert page.url.path == "/batches"
    assert 'action="/sign-out"' in page.text
    assert client.get("/v1/files").status_code == 200  # what the pages link to
    assert client.get("/studies", headers=PAGE).status_code == 403

    button = {"Content-Type": "application/x-www-form-urlencoded"}  # what a browser sends for a form without fields
    assert client.post("/sign-out", headers=PAGE | button).url.path == "/sign-in"
    assert rows(client, "sign_in") == []
    client.cookies.set(COOKIE, token)
    assert client.get("/batches", headers=PAGE).url.path == "/sign-in"


def test_a_revoked_key_signs_its_browsers_out(any_guarded: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "REMEMBERED", 0.0)
    key = new_key(any_guarded, "chat")
    sign_in(any_guarded, key.secret)
    assert any_guarded.get("/batches", headers=PAGE).url.path == "/batches"
    database: Database = any_guarded.app.state.database  # type: ignore[attr-defined]
    with database.writing() as session:
        service.revoke(session, key.id)
        assert session.scalars(sa.select(SignIn)).all() == []
    assert any_guarded.get("/batches", headers=PAGE).url.path == "/sign-in"


def test_a_cookie_does_nothing_for_another_sites_page(any_guarded: TestClient) -> None:
    sign_in(any_guarded, new_key(any_guarded, "admin").secret)
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        for path in ("/v1/studies", "/v1/batches", "/v1/models/reload", "/batches", "/studies", "/sign-out"):
            response = any_guarded.post(path, headers=headers)
            assert (response.status_code, response.json()["error"]["code"]) == (403, "foreign_form"), path
        assert any_guarded.delete("/v1/raters/x", headers=headers).status_code == 403
        assert any_guarded.post("/sign-in", data={"key": "x"}, headers=headers).status_code == 403
    # A key in the header is no cookie: nobody's browser sends it by itself.
    both = bearer(new_key(any_guarded, "admin").secret) | {"Sec-Fetch-Site": "cross-site"}
    assert any_guarded.delete("/v1/raters/x", headers=both).status_code == 404


@pytest.mark.parametrize(
    ("settings", "admits"),
    [
        ({}, "all"),
        ({"host": "localhost"}, "all"),
        ({"host": "127.9.9.9"}, "all"),
        ({"host": "::1"}, "all"),
        ({"host": "127.0.0.1", "trusted_proxies": "127.0.0.1"}, "none"),
        ({"host": "127.0.0.1", "anonymous": "none"}, "none"),
        ({"host": "0.0.0.0"}, "none"),
        ({"host": "::"}, "none"),
        ({"host": "192.168.1.5"}, "none"),
        ({"host": "example.org"}, "none"),
        ({"host": "0.0.0.0", "anonymous": "chat"}, "chat"),
        ({"host": "0.0.0.0", "anonymous": "all"}, "all"),
    ],
)
def test_who_needs_a_key(start: Callable[..., TestClient], settings: dict[str, str], admits: str) -> None:
    client = start(FakeBot(), **settings)
    body = {"model": "fake", "messages": [{"role": "user", "content": "hi"}]}
    assert client.get("/health/ready").status_code == 200
    assert (client.post("/v1/chat/completions", json=body).status_code == 200) == (admits != "none")
    assert client.get("/", headers=PAGE).url.path == ("/sign-in" if admits == "none" else "/")
    assert client.get("/arena", headers=PAGE).url.path == ("/sign-in" if admits == "none" else "/arena")
    assert (client.get("/v1/files").status_code == 200) == (admits == "all")
    assert (client.get("/v1/studies").status_code == 200) == (admits == "all")
    # Clients that must send something send it; where no key is asked for, it is not looked at.
    assert (client.get("/v1/models", headers=bearer("none")).status_code == 200) == (admits == "all")


def test_a_key_for_something_else_takes_nothing_away(start: Callable[..., TestClient]) -> None:
    client = start(FakeBot(), host="0.0.0.0", anonymous="chat")
    assert client.get("/v1/models", headers=key_headers(client, "rate")).status_code == 200
    assert client.get("/v1/files", headers=key_headers(client, "rate")).status_code == 403
