"""Liveness and readiness."""

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.database import Database
from app.health import fault_of_folder
from app.migration import newest_revision
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
        "checks": [
            {"name": name, "ok": True, "reason": None}
            for name in ("accepting", "engines", "models", "database", "migrations", "disk")
        ],
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


def failing(report: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["reason"] for one in report["checks"] if not one["ok"]}


def test_each_thing_that_is_missing_has_its_own_name(start: Callable[..., TestClient], tmp_path: Path) -> None:
    client = start(FakeBot(), state=tmp_path / "state")
    app: Any = client.app
    app.state.leaving = True
    database: Database = app.state.database
    with database.writing() as session:
        session.execute(text("update alembic_version set version_num = '0001'"))
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/json"
    assert failing(response.json()) == {
        "accepting": "the service is stopping",
        "migrations": f"the database's schema is 0001, not {newest_revision()}",
    }
    assert response.json()["reasons"] == list(failing(response.json()).values())
    assert response.json()["error"]["message"].startswith("not ready: the service is stopping, the database's schema")


def test_a_dead_engine_is_a_reason(start: Callable[..., TestClient]) -> None:
    client = start(FakeBot())
    app: Any = client.app
    for seat in app.state.generation._seats:
        seat.loaded = None
    assert failing(client.get("/health/ready").json()) == {"engines": "no engine is running"}


def test_a_full_disk_is_a_reason(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5 * 2**20))
    reason = "the disk of the state directory has 5 MiB left, 64 are needed"
    assert failing(client.get("/health/ready").json()) == {"disk": reason}


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    assert fault_of_folder(tmp_path / "not" / "there" / "yet") is None
    (tmp_path / "file").touch()
    assert fault_of_folder(tmp_path / "file" / "state") == "a file is in the way of the state directory"
    assert fault_of_folder(Path("/proc/1/state")) == "the state directory cannot be written"
