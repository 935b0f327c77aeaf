"""The proxy of deploy/Caddyfile, run for real before two copies of the service that one name stands for."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from app.main import UPLOADS
from app.settings import Settings
from tests.app.fakes import FakeBot, app_of
from tests.deploy.names import Names

CADDYFILE = Path(__file__).parents[2] / "deploy" / "Caddyfile"
BODY = {"model": "fake", "messages": [{"role": "user", "content": "hello"}]}


@dataclass
class Copy:
    """One copy of the service."""

    bot: FakeBot
    server: uvicorn.Server
    thread: threading.Thread
    seen: list[tuple[str, str]]
    """For each request the address that it is said to come from, and its scheme."""

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        return [stack.enter_context(socket.create_server(("0.0.0.0", 0))).getsockname()[1] for _ in range(count)]


def start_copy(host: str, port: int, state: Path) -> Copy:
    """Start one copy of the service on `host`."""
    bot = FakeBot()
    app = app_of(Settings(state=state, ping_seconds=0.2), bot)
    seen: list[tuple[str, str]] = []

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            seen.append((scope["client"][0], scope["scheme"]))
        await app(scope, receive, send)

    config = uvicorn.Config(noting, host=host, port=port, log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)  # which by default believes what comes from 127.0.0.1, as our setting does
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    return Copy(bot, server, thread, seen)


@dataclass
class Deployment:
    """The proxy, and the copies of the service that its name server names."""

    client: httpx.Client
    names: Names
    port: int
    copies: list[Copy]


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """Give the proxy before two copies of the service, which have an address each and the same port."""
    caddy = shutil.which("caddy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if caddy is None:
        pytest.skip("caddy is not installed")
    if not sys.platform.startswith("linux"):
        pytest.skip("127.0.0.2 is an address of Linux machines alone")
    port, service, health = free_ports(3)
    names = Names("127.0.0.1", "127.0.0.2")
    # The very file, but for whom it asks about names.
    text = CADDYFILE.read_text(encoding="utf-8")
    assert text.count("refresh 2s\n") == 1
    (tmp_path / "Caddyfile").write_text(
        text.replace("refresh 2s\n", f"refresh 200ms\nresolvers 127.0.0.1:{names.port}\n")
    )
    environment = {
        **os.environ,
        "SITE": f"http://:{port}",
        "UPSTREAM_PORT": str(service),
        "HEALTH_PORT": str(health),
        "HOME": str(tmp_path),
    }
    command = [caddy, "run", "--config", tmp_path / "Caddyfile", "--adapter", "caddyfile"]
    copies = [start_copy(f"127.0.0.{i}", service, tmp_path / str(i)) for i in (1, 2)]
    with (
        (tmp_path / "caddy.log").open("w") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        try:
            end = time.monotonic() + 60
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if httpx.get(f"http://127.0.0.1:{health}/").status_code == 200:
                        break
                assert process.poll() is None, (tmp_path / "caddy.log").read_text()
                assert time.monotonic() < end
                time.sleep(0.1)
            yield Deployment(client, names, service, copies)
        finally:
            process.terminate()
            process.wait(30)
            names.close()
            for one in copies:
                one.stop()


def test_requests_are_shared_out_and_what_is_inside_stays_inside(deployment: Deployment, tmp_path: Path) -> None:
    client, copies = deployment.client, deployment.copies
    for _ in range(10):
        assert client.post("/v1/chat/completions", json=BODY).status_code == 200
    assert [len(one.bot.batches) for one in copies] == [5, 5]  # in turn
    for path in ("/metrics", "/health/ready", "/health/live"):
        answer = client.get(path)
        assert (answer.status_code, answer.text) == (404, "")
    # What a client says of itself is dropped: the service hears what the proxy saw.
    for one in copies:
        one.seen.clear()
    client.get("/v1/models", headers={"X-Forwarded-For": "198.51.100.9", "X-Forwarded-Proto": "https"})
    assert copies[0].seen + copies[1].seen == [("127.0.0.1", "http")]
    assert client.get("/v1/models", headers={"X-Request-ID": "through-1"}).headers["x-request-id"] == "through-1"
    # --scale app=3
    copies.append(start_copy("127.0.0.3", deployment.port, tmp_path / "3"))
    deployment.names.addresses = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
    end = time.monotonic() + 20
    while not copies[2].bot.batches:
        assert client.post("/v1/chat/completions", json=BODY).status_code == 200
        assert time.monotonic() < end


def test_streams_come_through_as_they_are_written(deployment: Deployment) -> None:
    """Nothing is said before the gate opens, and it opens when the first piece has come through."""
    gate = threading.Event()
    for one in deployment.copies:
        one.bot.gate = gate
    body = {**BODY, "stream": True}
    pieces = []
    with deployment.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for piece in answer.iter_raw():
            pieces.append(piece)
            gate.set()
    assert len(pieces) > 1
    assert b'"role":"assistant"' in pieces[0]
    assert b"".join(pieces).endswith(b"data: [DONE]\n\n")


def test_a_copy_that_is_gone_costs_no_request(deployment: Deployment) -> None:
    deployment.client.get("/v1/models")
    deployment.copies[0].stop()
    for _ in range(8):
        assert deployment.client.post("/v1/chat/completions", json=BODY).status_code == 200
    assert len(deployment.copies[1].bot.batches) == 8


def test_a_body_over_the_limit_is_answered_in_our_own_words(deployment: Deployment) -> None:
    client = deployment.client
    answer = client.post("/v1/ratings", content=b"x" * 2_000_000)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"
    file = {"file": ("x.jsonl", b'{"a": 1}\n' * 1_000_000)}  # more than other bodies may have, less than a file
    assert client.post("/v1/files", files=file, data={"purpose": "batch"}).status_code in (200, 201)
    assert client.post("/v1/ratings", content=b"x" * 9_000_000).status_code == 413


def test_its_limits_are_above_the_services_own() -> None:
    text = CADDYFILE.read_text(encoding="utf-8")
    sizes = {name: int(size) * 10**6 for name, size in re.findall(r"request_body @(\w+) \{\s*max_size (\d+)MB", text)}
    settings = Settings()
    assert settings.max_file_bytes + 2**20 < sizes["uploads"] < 2 * settings.max_file_bytes
    assert settings.max_body_bytes < sizes["others"] <= 8 * settings.max_body_bytes  # it reads on so far itself
    assert [path.split() for path in re.findall(r"path (/v1/files .*)", text)] == [UPLOADS, UPLOADS]
