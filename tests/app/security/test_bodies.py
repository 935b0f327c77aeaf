"""Bodies and heads that are made to cost more than they weigh."""

import gzip
import json
import socket
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient

from app.access.rules import RULES
from app.protocol import LONGEST_HEAD
from app.settings import Settings
from tests.app.conftest import Serving
from tests.app.fakes import FakeBot, app_of

JSON = {"Content-Type": "application/json"}
POSTS = [name.split()[1] for name in RULES if name.startswith("POST /v1/") and "{" not in name]
BOMB = b'{"model": "fake", "messages": [{"role": "user", "content": "' + b"x" * 50_000_000 + b'"}]}'


@pytest.mark.parametrize("path", [*POSTS, "/chat", "/batches"])
def test_a_packed_body_is_not_unpacked(standing_client: TestClient, path: str) -> None:
    for encoding in ("gzip", "x-gzip", "deflate", "br", "zstd", "identity, gzip", "GZIP"):
        body = gzip.compress(b"{}") if "gzip" in encoding.lower() else zlib.compress(b"{}")
        response = standing_client.post(path, content=body, headers=JSON | {"Content-Encoding": encoding})
        assert response.status_code == 415
        assert response.json()["error"]["code"] == "packed_body"


def test_a_gzip_bomb_costs_nothing(standing_client: TestClient) -> None:
    bomb = gzip.compress(BOMB, 9)
    assert len(bomb) < 100_000
    began = time.process_time()
    response = standing_client.post("/v1/chat/completions", content=bomb, headers=JSON | {"Content-Encoding": "gzip"})
    assert response.status_code == 415
    unmarked = standing_client.post("/v1/chat/completions", content=bomb, headers=JSON)
    assert (unmarked.status_code, unmarked.json()["error"]["type"]) == (400, "invalid_request_error")
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("depth", [90, 950, 500_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_depth(standing_client: TestClient, path: str, depth: int, opening: str) -> None:
    if len(opening) * depth > 900_000:
        depth = 900_000 // len(opening) // 2
    bomb = opening * depth + "1" + {"[": "]", '{"a":': "}"}[opening] * depth
    began = time.monotonic()
    for body in (bomb, f'{{"model": "fake", "messages": [{{"role": "user", "content": "hi"}}], "tools": {bomb}}}'):
        response = standing_client.post(path, content=body, headers=JSON)
        assert response.status_code in (200, 400, 404), (path, response.text[:200])
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "text", ["9" * 4_000, "9" * 500_000, "1e400", "-1e400", "1" + "0" * 400 + ".0", '"' + "\\ud800" * 1000 + '"', "NaN"]
)
def test_numbers_and_characters_that_are_none(standing_client: TestClient, text: str) -> None:
    for field in ("seed", "temperature", "n", "user", "tools"):
        body = f'{{"model": "fake", "messages": [{{"role": "user", "content": "hi"}}], "{field}": {text}}}'
        response = standing_client.post("/v1/chat/completions", content=body, headers=JSON)
        assert response.status_code in (200, 400), response.text[:200]


def test_counts_are_limited(standing_client: TestClient) -> None:
    message = {"role": "user", "content": "hi"}
    ask = {"model": "fake", "messages": [message]}
    for more in (
        {"stop": ["x"] * 5},
        {"stop": "x" * 257},
        {"n": 1_000_000},
        {"best_of": 1_000_000},
        {"messages": [message] * 257},
        {"messages": [{"role": "user", "content": "x" * 16_001}]},
        {"logprobs": True, "top_logprobs": 1_000},
    ):
        response = standing_client.post("/v1/chat/completions", json=ask | more)
        assert response.status_code == 400, (more, response.text[:300])
    contexts = {"model": "fake", "contexts": [["hi"]] * 129}
    assert standing_client.post("/v1/replies", json=contexts).status_code == 400


def exchange(address: str, head: bytes) -> bytes:
    host = urlsplit(address)
    answer = b""
    with socket.create_connection((host.hostname or "", host.port or 0), 20) as connection:
        try:
            for start in range(0, len(head), 65_536):
                connection.sendall(head[start : start + 65_536])
            while data := connection.recv(65_536):
                answer += data
        except ConnectionError:
            pass  # it may close while we still send
    return answer


def test_a_head_that_does_not_end(serve: Serving, tmp_path: Path) -> None:
    settings = Settings(state=tmp_path)
    address = serve(app_of(settings, FakeBot()), settings)
    begin = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    good = begin + b"X-A: " + b"a" * 30_000 + b"\r\n\r\n"
    assert exchange(address, good).startswith(b"HTTP/1.1 200 ")
    many = begin + b"".join(b"X-%d: %d\r\n" % (number, number) for number in range(200_000))
    for endless in (begin + b"X-A: " + b"a" * 5_000_000, many, b"GET /" + b"a" * 5_000_000):
        began = time.monotonic()
        answer = exchange(address, endless)
        assert answer == b"" or answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 ")), answer[:100]
        assert time.monotonic() - began < 10
    slowly = begin + b"X-A: " + b"a" * (LONGEST_HEAD + 100)
    answer = exchange(address, slowly)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "headers_too_large"
    # Two requests on one connection: the count begins anew.
    two = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 40_000 + b"\r\n\r\n" + good
    assert exchange(address, two).count(b"HTTP/1.1 200 ") == 2


def test_an_upgrade_leads_nowhere(serve: Callable, tmp_path: Path) -> None:
    settings = Settings(state=tmp_path)
    address = serve(app_of(settings, FakeBot()), settings)
    head = b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
    head += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    assert b" 101 " not in exchange(address, head)
