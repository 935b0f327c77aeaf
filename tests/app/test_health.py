"""Liveness and readiness."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from tests.app.fakes import FakeBot


def test_alive_while_a_reply_is_drawn(start: Callable[..., TestClient]) -> None:
    """The gate opens only after /health/live has answered: a blocked loop would fail by never getting there."""
    bot = FakeBot(gate=threading.Event())
    client = start(bot)
    body = {"model": "fake", "messages": [{"role": "user", "content": "hello"}]}
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(client.post, "/v1/chat/completions", json=body)
        assert bot.began.wait(10)
        assert client.get("/health/live").json() == {"status": "alive"}
        assert client.get("/health/ready").status_code == 200
        assert not reply.done()
        bot.gate.set()
        assert reply.result(10).status_code == 200


def test_ready_names_the_models_and_the_broken_ones(start: Callable[..., TestClient]) -> None:
    response = start(FakeBot("good"), broken={"bad": "generator.safetensors is truncated"}).get("/health/ready")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ready",
        "reasons": [],
        "models": ["good"],
        "broken_models": {"bad": "generator.safetensors is truncated"},
        "database": "answers",
    }


def test_not_ready_without_a_model(start: Callable[..., TestClient]) -> None:
    response = start().get("/health/ready")
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "not_ready"
    assert response.json()["reasons"] == ["no model is loaded"]


def test_not_ready_without_the_database(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("SELECT 1", None, Exception("gone"))

    monkeypatch.setattr(client.app.state.database, "reading", fail)  # type: ignore[attr-defined]
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["reasons"] == ["the database does not answer"]
    assert client.get("/health/live").status_code == 200
