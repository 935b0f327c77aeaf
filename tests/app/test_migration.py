"""The migrations give exactly the schema that the code has."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from app.database import Database, open_engine
from app.migration import downgrade_database, metadata, migrate_database
from app.ratings.tables import Judgement
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
        assert len(expected) > 25
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


CONTEXT = {"sha256": "c" * 64, "messages": [{"role": "user", "content": '好 \\ "hello"'}]}
SYSTEM = {"name": "old", "kind": "checkpoint", "weights_sha256": "f" * 64, "decoding": {}, "decoding_sha256": "0" * 64}
RESPONSE = {
    "id": "reply-1",
    "text": "hi 🙂",
    "seed": 2**62,
    "choice": 0,
    "finish_reason": "stop",
    "tokens": 3,
    "context_tokens": 4,
    "turns_used": 1,
    "score": 0.1 + 0.2,
    "latency_ms": 12,
}


def every_row(engine: sa.Engine, columns: dict[str, list[str]]) -> dict[str, list[tuple[object, ...]]]:
    with engine.connect() as connection:
        return {
            table: [
                tuple(row) for row in connection.exec_driver_sql(f"select {', '.join(names)} from {table} order by id")
            ]
            for table, names in columns.items()
        }


def test_what_was_served_and_rated_before_studies_moves_over_and_back(empty_database_url: str) -> None:
    """A chain of two thumbs, a comment, a conversation: all there after the way up, down, and up again."""
    migrate_database(empty_database_url, "0001")
    engine = open_engine(empty_database_url)
    old = sa.MetaData()
    old.reflect(engine)
    moment = datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=UTC)
    with engine.execution_options(writes=True).begin() as connection:

        def add(table: str, **values: object) -> int:
            row = {"created_at": moment, **values}
            statement = sa.insert(old.tables[table]).values(**row).returning(old.tables[table].c.id)
            return connection.execute(statement).scalar_one()

        response = {**RESPONSE, "system_id": add("system", **SYSTEM), "context_id": add("context", **CONTEXT)}
        add("response", **response)
        first = add("judgement", response_id="reply-1", kind="thumb", value=-1, comment="太短了 🙂")
        add("judgement", response_id="reply-1", kind="thumb", value=1, supersedes=first)
        add("conversation", id="talk")
        add("turn", conversation_id="talk", position=0, role="user", text="hello")
        add("turn", conversation_id="talk", position=1, role="assistant", text="hi 🙂", response_id="reply-1")
    columns = {name: [column.name for column in table.columns] for name, table in old.tables.items()}
    del columns["idempotency_record"], columns["alembic_version"]
    before = every_row(engine, columns)
    assert [len(rows) for rows in before.values()].count(0) == 0

    migrate_database(empty_database_url)
    assert every_row(engine, columns) == before
    database = Database(empty_database_url)
    with database.writing() as session:
        thumbs = session.scalars(sa.select(Judgement).order_by(Judgement.id)).all()
        assert [(one.dimension, one.blind, one.reasons, one.rater_id) for one in thumbs] == [
            ("", False, None, None)
        ] * 2
        assert thumbs[0].created_at == moment
        # Of a kind that the old schema has no place for; and ids must still count up.
        later = Judgement(response_id="reply-1", kind="scale", dimension="fluent", value=5, created_at=moment)
        session.add(later)
        session.flush()
        assert later.id > thumbs[1].id
    database.close()

    downgrade_database(empty_database_url, "0001")
    assert every_row(engine, columns) == before
    with engine.connect() as connection:
        then = {check["name"] for check in sa.inspect(connection).get_check_constraints("judgement")}
    assert then == {"ck_judgement_value_by_kind"}
    migrate_database(empty_database_url)
    assert every_row(engine, columns) == before
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
        assert connection.exec_driver_sql("select version_num from alembic_version").all() == [("0005",)]
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
