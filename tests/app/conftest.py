"""The service under test: a fake bot, and a fresh database of each kind."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.database import Database
from app.migration import metadata, migrate_database
from app.server import configure
from app.settings import Settings
from tests.app.fakes import FakeBot, app_of
from tests.postgres import execute, new_database, postgres, with_database

__all__ = ["postgres"]


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a database without tables, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'fresh.db'}"
    return new_database(request.getfixturevalue("postgres"))


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a migrated database without rows, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'fresh.db'}"  # whoever opens it migrates it
    url = with_database(request.getfixturevalue("postgres"), "migrated")
    # One database for all tests: a hundred of them take half a minute to delete.
    execute(url, f"TRUNCATE {', '.join(metadata().tables)} RESTART IDENTITY CASCADE")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Give a migrated database of each kind."""
    migrate_database(database_url)
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def bot() -> FakeBot:
    """Give a fake bot."""
    return FakeBot()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., TestClient]]:
    """Give a function that starts the service on SQLite, or on `database_url`, and returns a client of it."""
    clients: list[TestClient] = []

    def start(*bots: FakeBot, broken: dict[str, str] | None = None, **settings: object) -> TestClient:
        app = app_of(Settings(**{"state": tmp_path, **settings}), *bots, broken=broken)
        client = TestClient(app)
        client.__enter__()
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(start: Callable[..., TestClient], bot: FakeBot) -> TestClient:
    """Give a client of the service on SQLite."""
    return start(bot)


@pytest.fixture(scope="module")
def standing_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Give a client of a service on SQLite that the tests of one file share: for what must change nothing."""
    settings = Settings(state=tmp_path_factory.mktemp("standing"))
    with TestClient(app_of(settings, FakeBot())) as client:
        yield client


@pytest.fixture
def any_client(start: Callable[..., TestClient], bot: FakeBot, database_url: str) -> TestClient:
    """Give a client of the service on each kind of database."""
    return start(bot, database_url=database_url)


@pytest.fixture
def rows() -> Callable[..., list[dict[str, object]]]:
    """Give a function that reads a table of a client's database, behind the service's back."""

    def rows(client: TestClient, table: str) -> list[dict[str, object]]:
        database: Database = client.app.state.database  # type: ignore[attr-defined]
        with database.reading() as session:
            return [dict(row) for row in session.execute(sa.text(f"select * from {table}")).mappings()]

    return rows


class Serving:
    """Serves apps on real sockets."""

    def __init__(self) -> None:
        self._running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def __call__(self, app: FastAPI, settings: Settings | None = None, **options: Any) -> str:
        """Serve `app`, as `rejoinder serve` does where `settings` are given, else with uvicorn's `options`.

        Returns its address.
        """
        # the process's loggers stay as they are
        own = uvicorn.Config(app, log_config=None, log_level="warning", **options)
        server = uvicorn.Server(own if settings is None else configure(app, settings))
        listening = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        self._running.append((server, thread))
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        """Stop all, in order."""
        while self._running:
            server, thread = self._running.pop()
            server.should_exit = True
            thread.join(20)


@pytest.fixture
def serve() -> Iterator[Serving]:
    """Give a function that serves an app on a real socket and returns its address."""
    serving = Serving()
    yield serving
    serving.stop()
