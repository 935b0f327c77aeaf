"""The migrations give exactly the schema that the code has."""

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from app.database import open_engine
from app.migration import downgrade_database, metadata, migrate_database
from chatbot.errors import RejoinderError


def checks(connection: sa.Connection) -> set[tuple[str, str | None]]:
    inspector = sa.inspect(connection)
    return {(table, check["name"]) for table in metadata().tables for check in inspector.get_check_constraints(table)}


def test_migrations_give_exactly_the_metadata(empty_database_url: str) -> None:
    migrate_database(empty_database_url)
    engine = open_engine(empty_database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata()) == []
        # Alembic does not compare CHECKs.
        expected = {
            (table.name, check.name)
            for table in metadata().tables.values()
            for check in table.constraints
            if isinstance(check, sa.CheckConstraint)
        }
        assert checks(connection) == expected
        assert len(expected) >= 7
    engine.dispose()


def test_up_down_and_up_again(empty_database_url: str) -> None:
    migrate_database(empty_database_url)
    migrate_database(empty_database_url)  # a second time changes nothing
    downgrade_database(empty_database_url, "base")
    engine = open_engine(empty_database_url)
    assert sa.inspect(engine).get_table_names() == ["alembic_version"]
    migrate_database(empty_database_url)
    assert set(sa.inspect(engine).get_table_names()) == {"alembic_version", *metadata().tables}
    engine.dispose()


def test_processes_that_migrate_at_once_do_it_once(empty_database_url: str) -> None:
    failures: list[Exception] = []

    def work() -> None:
        try:
            migrate_database(empty_database_url)
        except Exception as error:
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    engine = open_engine(empty_database_url)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("select version_num from alembic_version").all() == [("0001",)]
    engine.dispose()


def test_a_database_of_a_newer_version_is_left_alone(empty_database_url: str) -> None:
    migrate_database(empty_database_url)
    engine = open_engine(empty_database_url)
    with engine.execution_options(writes=True).begin() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    with pytest.raises(RejoinderError, match="newer version"):
        migrate_database(empty_database_url)
    assert "response" in sa.inspect(engine).get_table_names()
    engine.dispose()


def test_what_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("not a database at all, but long enough to be looked at" * 20)
    with pytest.raises(RejoinderError, match="cannot be opened: file is not a database"):
        migrate_database(f"sqlite:///{tmp_path / 'x.db'}")
    with pytest.raises(RejoinderError, match="cannot be made"):
        migrate_database(f"sqlite:///{tmp_path / 'x.db' / 'y.db'}")


def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with pytest.raises(RejoinderError, match="cannot be opened") as caught:
        migrate_database("postgresql://someone:secret@127.0.0.1:9/none")
    assert "secret" not in str(caught.value)
