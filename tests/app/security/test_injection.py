"""Line breaks in what clients write reach no header and no line of the log."""

import logging
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from app.keys.commands import create
from app.keys.schemas import KeyRequest
from app.security_headers import SECURITY_HEADERS
from app.settings import Settings
from chatbot.errors import RejoinderError
from tests.app.fakes import FakeBot, app_of
from tests.app.owners import key_headers

FORGED = "x\r\nSet-Cookie: a=b\r\nX-Forged: yes\r\n\r\n<script>"


ADDRESSES = ["/v1/models/{}", "/v1/files/{}", "/v1/studies/{}", "/v1/exports/{}", "/rate/join/{}", "/?lang={}", "/{}"]
ADDRESSES += ["/sign-in?next={}", "/rate/{}", "/v1/files?after={}", "/?theme={}", "/board?study={}"]
ELSEWHERE = ["//evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example", "javascript:alert(1)", ""]
ELSEWHERE += ["/\t/evil.example", "/\n/evil.example", "evil.example", " //evil.example", "/%0d%0aSet-Cookie: a=b\r\n"]


@pytest.mark.parametrize("path", ADDRESSES)
def test_addresses(guarded: TestClient, path: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    address = path.format(quote(FORGED, safe=""))
    for headers in (key_headers(guarded, "admin"), {"Accept": "text/html"}, {}):
        response = guarded.get(address, headers=headers)
        assert "x-forged" not in response.headers
        assert "a=b" not in response.headers.get("set-cookie", "")
        assert all("\n" not in value and "\r" not in value for value in response.headers.values())
        if response.headers.get("content-type", "").startswith("text/html"):
            assert "<script>" not in response.text
    ours = [record for record in caplog.records if not record.name.startswith("httpx")]  # the client's own
    assert not [record for record in ours if "X-Forged" in record.getMessage()]


@pytest.mark.parametrize("header", ["User-Agent", "X-Forwarded-For", "Referer", "X-Request-ID", "Idempotency-Key"])
def test_headers(guarded: TestClient, header: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "app")
    value = b'x" \x1b[31m level=error forged=yes'
    headers = {**{name.encode(): text.encode() for name, text in key_headers(guarded, "admin").items()}}
    headers[header.encode()] = value
    response = guarded.get("/v1/models", headers=headers)  # type: ignore[arg-type]
    assert response.status_code == 200
    assert not any("forged" in value for value in response.headers.values())
    assert not [record for record in caplog.records if "forged" in record.getMessage()]


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "\x1b[31m", "a\x00", "a\u2028b", "a\x85b", "a\x7f"])
def test_the_names_of_keys(name: str, tmp_path: object) -> None:
    with pytest.raises(ValidationError):
        KeyRequest(scopes=["chat"], name=name)
    with pytest.raises(RejoinderError, match="--name"):
        create("chat", None, name, state=tmp_path)


@pytest.mark.parametrize("wanted", ELSEWHERE)
def test_signing_in_leads_nowhere_else(guarded: TestClient, wanted: str) -> None:
    key = key_headers(guarded, "chat")["Authorization"].removeprefix("Bearer ")
    response = guarded.post("/sign-in", data={"key": key, "next": wanted})
    assert (response.status_code, response.headers["location"]) == (303, "/")
    guarded.cookies.clear()


def test_pages_say_what_browsers_may_do(tmp_path: object) -> None:
    settings = Settings(state=tmp_path)  # type: ignore[arg-type]
    with TestClient(app_of(settings, FakeBot())) as plain:
        headers = plain.get("/").headers
        assert all(headers[name] == value for name, value in SECURITY_HEADERS.items())
        assert "camera=()" in headers["permissions-policy"]
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "strict-transport-security" not in headers
        assert "access-control-allow-origin" not in plain.get("/v1/models", headers={"Origin": "https://x"}).headers
    with TestClient(app_of(settings, FakeBot()), base_url="https://testserver") as secure:
        assert secure.get("/").headers["strict-transport-security"] == "max-age=31536000"
        assert secure.get("/nothing").headers["strict-transport-security"]
