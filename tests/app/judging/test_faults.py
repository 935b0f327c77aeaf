"""When the database cannot be written, a rater is told so, nothing is half stored, and the same request works later."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from httpx import Response

from app.database import Database
from app.migration import metadata
from tests.app.fakes import FakeBot
from tests.app.people import Json, Owner, RaterClient
from tests.postgres import execute, with_database

TABLES = ("judgement", "assignment", "item", "audit_event", "rater")

Rows = Callable[..., list[dict[str, object]]]


def engine_of(client: TestClient) -> sa.Engine:
    database: Database = client.app.state.database  # type: ignore[attr-defined]
    return database.engine


def check_refused(client: TestClient, rows: Rows, before: list[object], response: Response) -> None:
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "database_unavailable"
    assert "nothing was stored" in response.json()["error"]["message"]
    assert response.headers["retry-after"] == "5"
    assert [rows(client, table) for table in TABLES] == before


def work(rater: RaterClient) -> list[Callable[[Json], Response]]:
    return [
        lambda task: rater.judge(task, "tie", comment="x" * 3000),
        lambda task: rater.post("flag", {"lease": task["lease"], "flag": "other", "comment": "x" * 3000}),
        lambda task: rater.post("skip", {"lease": task["lease"], "reason": "other"}),
        lambda task: rater.get("next"),
    ]


@contextmanager
def locked(client: TestClient) -> Iterator[None]:
    """Let another writer hold the database; ours are impatient, so that the test is quick."""
    engine = engine_of(client)

    def impatient(connection, *_: object) -> None:
        connection.execute("PRAGMA busy_timeout = 50")

    with engine.execution_options(writes=True).begin():
        sa.event.listen(engine, "checkout", impatient)
        yield
        sa.event.remove(engine, "checkout", impatient)


@contextmanager
def full(client: TestClient) -> Iterator[None]:
    """Let the file system take no more of the database's log than there is: a write beyond it fails."""
    log = Path(str(engine_of(client).url.database) + "-wal")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def no_page_left(client: TestClient) -> Iterator[None]:
    """Let SQLite say "database or disk is full" as soon as a new page is needed."""
    engine = engine_of(client)

    def limit(connection, *_: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # it takes the present count when that is larger

    def unlimit(connection, *_: object) -> None:
        connection.execute("PRAGMA max_page_count = 1073741823")

    sa.event.listen(engine, "checkout", limit)
    yield
    sa.event.remove(engine, "checkout", limit)
    sa.event.listen(engine, "checkout", unlimit)


@pytest.mark.parametrize("fault", [locked, full])
@pytest.mark.parametrize("what", range(4))
def test_a_database_that_cannot_be_written(
    client: TestClient, rows: Rows, fault: Callable[[TestClient], Iterator[None]], what: int
) -> None:
    owner = Owner(client).running()
    rater = owner.rater()
    task = rater.task() if what < 3 else {}
    act = work(rater)[what]
    before: list[object] = [rows(client, table) for table in TABLES]
    with fault(client):  # type: ignore[attr-defined]
        response = act(task)
        after = [rows(client, table) for table in TABLES]
    assert after == before
    check_refused(client, rows, before, response)
    assert act(task).status_code in (200, 201)
    assert [rows(client, table) for table in TABLES] != before


def test_a_database_without_a_page_left(client: TestClient, rows: Rows) -> None:
    rater = Owner(client).running().rater()
    task = rater.task()
    with no_page_left(client):
        for attempt in range(200):  # the pages that the migration left behind are used up first
            before: list[object] = [rows(client, table) for table in TABLES]
            response = rater.judge(task, ("left", "right")[attempt % 2], comment="x" * 4000)
            if response.status_code != 201:
                break
    check_refused(client, rows, before, response)
    assert rater.judge(task, "tie", comment="x" * 4000).status_code == 201


@pytest.mark.parametrize("moment", ["before_flush", "before_commit"])
def test_a_connection_lost_in_the_midst(
    start: Callable[..., TestClient], postgres: str, rows: Rows, moment: str
) -> None:
    """The server ends the session's connection: what it had begun is undone, and the retry counts once."""
    url = with_database(postgres, "migrated")
    execute(url, f"TRUNCATE {', '.join(metadata().tables)} RESTART IDENTITY CASCADE")
    client = start(FakeBot(), database_url=url)
    rater = Owner(client).running().rater()
    task = rater.task()
    before: list[object] = [rows(client, table) for table in TABLES]
    database: Database = client.app.state.database  # type: ignore[attr-defined]
    cut: list[int] = []

    def lose(session, *_: object) -> None:
        if not cut:
            cut.append(session.scalar(sa.text("select pg_backend_pid()")))
            execute(postgres, f"SELECT pg_terminate_backend({cut[0]})")

    sa.event.listen(database._writer, moment, lose)
    response = rater.judge(task, "tie")
    sa.event.remove(database._writer, moment, lose)
    assert cut
    check_refused(client, rows, before, response)
    again = rater.judge(task, "tie")
    assert again.status_code == 201
    assert len(rows(client, "judgement")) == 1
