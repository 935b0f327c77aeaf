"""The limit to bodies, announced or not, and the headers for browsers."""

from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient

from tests.app.fakes import FakeBot

PATHS = ["/v1/chat/completions", "/v1/replies", "/v1/ratings", "/chat", "/nothing"]


@pytest.fixture
def small(start: Callable[..., TestClient]) -> TestClient:
    return start(FakeBot(), max_body_bytes=1000)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [1001, 9000])
def test_an_announced_body_over_the_limit(small: TestClient, path: str, size: int) -> None:
    response = small.post(path, content=b"x" * size)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [1001, 9000])
def test_a_chunked_body_over_the_limit(small: TestClient, path: str, size: int) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(size):
            yield b"x"

    response = small.post(path, content=chunks())
    assert "content-length" not in response.request.headers
    assert response.status_code == 413


def test_a_chunked_body_at_the_limit_arrives_whole(small: TestClient) -> None:
    start = b'{"model": "fake", "messages": [{"role": "user", "content": "'
    body = start + b"x" * (1000 - len(start) - 4) + b'"}]}'
    assert len(body) == 1000
    response = small.post(
        "/v1/chat/completions",
        content=iter([body[:10], b"", body[10:500], body[500:]]),
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code == 200
    assert "x" * 900 in response.json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("length", ["-5", "x", "9" * 5000, "²"])
def test_a_length_that_is_none_does_no_harm(small: TestClient, length: str) -> None:
    headers = {b"Content-Length": length.encode()}
    assert small.post("/v1/ratings", content=b"{}", headers=headers).status_code in (400, 413)


@pytest.mark.parametrize("path", ["/", "/v1/models", "/nothing", "/static/rejoinder.css", "/health/live"])
def test_every_answer_tells_browsers_what_they_may_do(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert headers["x-content-type-options"] == "nosniff"
