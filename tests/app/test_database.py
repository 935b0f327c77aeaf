"""The database's habits that the rest relies on."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app import errors
from app.chat.tables import Context
from app.database import Database, Writing, insert_if_absent, now, open_engine
from app.errors import DATABASE_AWAY
from app.migration import metadata
from app.pages.rendering import error_page
from app.ratings.tables import Judgement
from chatbot.errors import RejoinderError
from tests.app.fakes import FakeBot
from tests.app.people import Owner
from tests.postgres import execute, with_database


def count(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(Context)) or 0


def add(session, text: str) -> None:
    session.add(Context(sha256=text, messages=[{"role": "user", "content": text}], created_at=now()))
    session.flush()


def test_a_unit_of_work_is_kept_whole_or_not_at_all(database: Database) -> None:
    with database.writing() as session:
        add(session, "kept")
    with suppress(ZeroDivisionError), database.writing() as session:
        add(session, "dropped")
        1 / 0  # noqa: B018
    with database.reading() as session:
        add(session, "only read")
    assert count(database) == 1


def test_moments_come_back_in_utc_and_json_as_it_was(database: Database) -> None:
    moment = datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=UTC)
    with database.writing() as session:
        session.add(Context(sha256="x", messages=[{"role": "user", "content": "好 🙂"}], created_at=moment))
    with database.reading() as session:
        stored = session.scalars(sa.select(Context)).one()
    assert stored.created_at == moment
    assert stored.messages == [{"role": "user", "content": "好 🙂"}]


def test_a_check_is_not_passed_by_null(database: Database) -> None:
    for value in (None, 0, 2):
        with pytest.raises(sa.exc.IntegrityError), database.writing() as session:
            session.add(Judgement(response_id="none", kind="thumb", value=value, created_at=now()))
    assert count(database) == 0


def test_insert_if_absent_says_what_it_did(database: Database) -> None:
    with database.writing() as session:
        assert insert_if_absent(session, Context, sha256="x", messages=[], created_at=now())
        assert not insert_if_absent(session, Context, sha256="x", messages=[], created_at=now())


def test_many_writers_wait_for_each_other(database: Database) -> None:
    """Each reads, then writes: on SQLite this is "database is locked" unless a writer locks before it reads."""
    failures: list[Exception] = []

    def work(worker: int) -> None:
        try:
            for number in range(15):
                with database.writing() as session:
                    session.scalar(sa.select(sa.func.count()).select_from(Context))
                    add(session, f"{worker}/{number}")
        except Exception as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(worker,)) for worker in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert count(database) == 90


def test_a_failing_commit_is_told_before_the_answer(database: Database) -> None:
    """FastAPI's default scope answers 201 first and commits afterwards."""
    app = FastAPI()
    app.state.database = database
    errors.install(app, error_page)

    @app.post("/", status_code=201)
    def create(session: Writing) -> str:
        add(session, "lost")

        @sa.event.listens_for(session, "before_commit")
        def fail(session: object) -> None:
            raise sa.exc.OperationalError("COMMIT", None, Exception("disk full"))

        return "stored"

    response = TestClient(app).post("/")
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "database_unavailable"
    assert response.headers["retry-after"] == "5"
    assert count(database) == 0


def test_sqlite_is_opened_as_it_must(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'deep' / 'er' / 'x.db'}")
    with database.reading() as session:
        assert session.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(sa.text("PRAGMA foreign_keys")) == 1
        assert session.scalar(sa.text("PRAGMA busy_timeout")) == 10000
    database.close()


def test_plain_postgres_urls_get_the_driver() -> None:
    for url in ("postgresql://u:p@h/d", "postgres://u:p@h/d"):
        assert open_engine(url).url.drivername == "postgresql+psycopg"


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "nonsense secret", "sqlite://", "sqlite:///:memory:"])
def test_other_urls_are_refused_without_repeating_the_password(url: str) -> None:
    with pytest.raises(RejoinderError) as caught:
        open_engine(url)
    assert "secret" not in str(caught.value)


def test_units_of_work_in_threads_take_turns_and_fail_alone(database: Database) -> None:
    done: list[int] = []

    def work(number: int, session: Session) -> int:
        add(session, str(number))
        if number == 5:
            raise ValueError("only this one")
        done.append(number)
        return number

    async def run() -> list[int | BaseException]:
        return await asyncio.gather(
            *(database.write(partial(work, number)) for number in range(30)), return_exceptions=True
        )

    results = asyncio.run(run())
    assert isinstance(results.pop(5), ValueError)
    assert results == [number for number in range(30) if number != 5]
    if database.engine.dialect.name == "sqlite":
        assert done == results  # first come, first served
    assert count(database) == 29


def hung(url: str) -> sa.Connection:
    """Return a connection of a process that hangs in the midst of a transaction, with a lock on the row of "s"."""
    connection = open_engine(url).connect()
    connection.exec_driver_sql("select * from study where slug = 's' for update")
    return connection


@pytest.fixture
def patient(start: Callable[..., TestClient], postgres: str, monkeypatch: pytest.MonkeyPatch) -> tuple[TestClient, str]:
    """Give a service on PostgreSQL that waits a second for locks, and the database's URL."""
    url = with_database(postgres, "migrated")
    execute(url, f"TRUNCATE {', '.join(metadata().tables)} RESTART IDENTITY CASCADE")
    monkeypatch.setattr("app.database.LOCK_SECONDS", 1)
    monkeypatch.setattr("app.database.IDLE_SECONDS", 3)
    client = start(FakeBot(), database_url=url)
    assert Owner(client).create().status_code == 201
    return client, url


def test_who_waits_for_the_lock_of_a_process_that_hangs_is_told_so_and_the_lock_comes_free(
    patient: tuple[TestClient, str],
) -> None:
    client, url = patient
    connection = hung(url)
    started = time.monotonic()
    refused = client.post("/v1/studies/s/close")
    assert refused.status_code == 503, refused.text
    assert refused.json()["error"]["code"] == "database_unavailable"
    assert time.monotonic() - started < 10
    end = time.monotonic() + 30
    while (closed := client.post("/v1/studies/s/close")).status_code == 503:  # until the server ends what hangs
        assert time.monotonic() < end
    assert closed.status_code in (200, 409), closed.text
    with pytest.raises(DATABASE_AWAY):  # it wakes up: what it had begun is undone, and it hears so
        connection.exec_driver_sql("update study set title = 'changed while asleep'")
    connection.engine.dispose()
    assert client.get("/v1/studies/s").json()["title"] == "A study"


def test_closing_waits_for_a_thread_whose_task_was_cancelled(database: Database) -> None:
    entered, go_on = threading.Event(), threading.Event()
    seen: list[object] = []

    def work(session: Session) -> None:
        session.execute(sa.text("select 1"))
        entered.set()
        go_on.wait(10)
        seen.append(session.execute(sa.text("select 2")).scalar_one())

    async def run() -> None:
        task = asyncio.create_task(database.read(work))
        await asyncio.to_thread(entered.wait, 10)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        threading.Timer(0.2, go_on.set).start()
        database.close()
        assert seen == [2]
        with pytest.raises(RejoinderError, match="closed"):
            await database.read(work)

    asyncio.run(run())
