"""Slow and vanishing clients: each is let go in bounded time, with a word where it still listens; others go on."""

import asyncio
import json
import socket
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.connections import BoundedProtocol
from app.settings import Settings
from tests.app.conftest import Serving
from tests.app.fakes import FakeBot, app_of

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BODY = json.dumps({"model": "fake", "messages": [{"role": "user", "content": "hello"}]}).encode()


class Impatient(BoundedProtocol):
    """Gives everybody little time."""

    seconds = 0.4
    sending_seconds = 0.6


@pytest.fixture
def address(serve: Serving, tmp_path: Path) -> tuple[str, int]:
    url = httpx.URL(serve(endless(app_of(Settings(state=tmp_path), FakeBot())), http=Impatient))
    return url.host, url.port or 0


class Endless(Response):
    """Sends for ever."""

    ended = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the connection is gone."""
        leaving = asyncio.create_task(_left(receive))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not leaving.done():
            await send({"type": "http.response.body", "body": b"x" * 2**20, "more_body": True})
            await asyncio.sleep(0)
        self.ended.set()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def endless(app: FastAPI) -> FastAPI:
    """Add a route that sends for ever."""

    @app.get("/endless")
    async def route() -> Response:
        return Endless()

    return app


def trickle(address: tuple[str, int], content: bytes, step: int = 1, pause: float = 0.02) -> tuple[bytes, float]:
    """Send `content` a little at a time until all is sent or the other side closes; return its answer and the time."""
    started = time.monotonic()
    with socket.create_connection(address) as connection:
        connection.settimeout(pause)
        answer = b""
        try:
            for start in range(0, len(content), step):
                connection.sendall(content[start : start + step])
                try:
                    piece = connection.recv(65536)
                except TimeoutError:
                    continue
                answer += piece
                if not piece:
                    return answer, time.monotonic() - started
            connection.settimeout(10)
            while piece := connection.recv(65536):
                answer += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
        return answer, time.monotonic() - started


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (HEAD, "a head, byte by byte"),
        (HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY, "head and body, byte by byte"),
        (b"", "nothing at all"),
        (b"\r\n", "an empty line"),
    ],
)
def test_who_sends_too_slowly_is_told_so_and_let_go(address: tuple[str, int], content: bytes, what: str) -> None:
    answer, seconds = trickle(address, content)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n"), what
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"
    assert seconds < 3


def test_a_body_that_stalls(address: tuple[str, int]) -> None:
    form = HEAD.replace(b"/v1/chat/completions", b"/v1/files").replace(
        b"application/json", b"multipart/form-data; boundary=x"
    )
    for head in (HEAD, form):  # read by the middleware, and by its route
        answer, seconds = trickle(address, head + b"Content-Length: 1000\r\n\r\n", 10_000)
        assert answer.startswith(b"HTTP/1.1 408 "), head
        assert seconds < 3


def test_a_slow_body_that_goes_on_is_read_to_its_end(address: tuple[str, int]) -> None:
    body = BODY + b" " * 10_000
    head = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer, seconds = trickle(address, head + body, 300, 0.04)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert seconds > 2 * Impatient.seconds


def test_between_two_requests_an_empty_line_keeps_nobody(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.settimeout(5)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
        assert connection.recv(65536) == b""


def test_who_never_reads_is_cut_off(address: tuple[str, int]) -> None:
    Endless.ended.clear()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # what is on its way is in the sender's hands
        connection.connect(address)
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        assert Endless.ended.wait(20)


def test_two_hundred_slow_clients_stop_nobody(address: tuple[str, int]) -> None:
    async def slow(content: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*address)
        try:
            for byte in content:
                if reader.at_eof():
                    break
                writer.write(bytes([byte]))
                await asyncio.sleep(0.05)
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def work() -> list[float]:
        starts: list[Callable[[], Any]] = [
            lambda: slow(HEAD * 3),
            lambda: slow(HEAD + b"Content-Length: 500\r\n\r\n" + b"{" * 500),
            lambda: slow(b""),
        ]
        held = [asyncio.create_task(starts[i % 3]()) for i in range(200)]
        times = []
        async with httpx.AsyncClient(base_url=f"http://{address[0]}:{address[1]}") as client:
            for number in range(40):
                started = time.monotonic()
                answer = await client.post("/v1/chat/completions", json=json.loads(BODY))
                assert answer.status_code == 200, number
                times.append(time.monotonic() - started)
        assert not all(task.done() for task in held)  # they were there meanwhile
        async with asyncio.timeout(60):
            answers = await asyncio.gather(*held)
        # Who still sends when it is let go may find the connection reset, and not read why.
        assert sum(answer.startswith(b"HTTP/1.1 408 ") for answer in answers) > 50
        return times

    times = asyncio.run(work())
    assert statistics.median(times) < 2
