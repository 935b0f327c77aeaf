"""The lease queue where its races are: between the look at an item and the lock on it."""

import threading
import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from app.migration import metadata
from app.studies.queue import lock_item
from tests.app.fakes import FakeBot
from tests.app.people import Json, Owner, RaterClient
from tests.postgres import execute, with_database

SLOW_RANDOM = """
CREATE SCHEMA IF NOT EXISTS slow;
CREATE OR REPLACE FUNCTION slow.random() RETURNS double precision LANGUAGE plpgsql VOLATILE
AS $$ BEGIN PERFORM pg_catalog.pg_advisory_xact_lock_shared(42); RETURN 0; END $$;
"""
WAITING = "select count(*) from pg_locks where locktype = 'advisory' and not granted"


def test_an_item_taken_while_another_looked_at_it_is_not_given_twice(
    start: Callable[..., TestClient], postgres: str, rows: Callable
) -> None:
    """The slow one's statement sees the item free, is held up where it sorts, and then locks it: too late.

    Its lock succeeds, since the quick one has committed, and its statement does not see what that committed: only the
    count in a statement of its own does. `random()`, by which the items are sorted, is where the slow one waits for us.
    """
    url = with_database(postgres, "migrated")
    execute(url, f"TRUNCATE {', '.join(metadata().tables)} RESTART IDENTITY CASCADE")
    execute(url, SLOW_RANDOM)
    quick = start(FakeBot(), database_url=url)
    slow = start(FakeBot(), database_url=f"{url}&options=-csearch_path%3Dslow,pg_catalog,public")
    owner = Owner(quick).running(n=1, k=1)
    first, second = owner.rater(), owner.rater()
    late = RaterClient(slow, "s", second.token, second.public_id)
    given: list[Json] = []
    looking = threading.Thread(target=lambda: given.append(late.next()))
    database = quick.app.state.database  # type: ignore[attr-defined]
    with database.reading() as gate, database.reading() as watch:
        gate.execute(sa.text("select pg_advisory_xact_lock(42)"))
        looking.start()
        while not watch.scalar(sa.text(WAITING)):
            assert looking.is_alive()
            time.sleep(0.02)
        assert first.next()["task"] is not None
        assert given == []  # it is still looking
    looking.join()
    assert [(one["task"], one["reason"]) for one in given] == [(None, "wait")]
    assert [row["state"] for row in rows(quick, "assignment")] == ["leased"]


def test_an_item_that_another_holds_locked_is_skipped_at_once(start: Callable[..., TestClient], postgres: str) -> None:
    """Nobody waits for a colleague: with the item locked that would come first, a rater gets the other one."""
    url = with_database(postgres, "migrated")
    execute(url, f"TRUNCATE {', '.join(metadata().tables)} RESTART IDENTITY CASCADE")
    client = start(FakeBot(), database_url=url)
    owner = Owner(client).running(n=2, k=2)
    first, rater = owner.rater(), owner.rater()
    first.judge(first.task())
    begun, other = sorted(owner.items(), key=lambda item: -item["done"])  # what is begun comes first
    assert (begun["done"], other["done"]) == (1, 0)
    database = client.app.state.database  # type: ignore[attr-defined]
    with database.writing() as session:
        session.execute(sa.text("select id from item where id = :id for update"), {"id": begun["id"]})
        assert rater.task()["messages"] == other["messages"]


def test_an_item_whose_raters_are_counted_is_locked(start: Callable[..., TestClient], postgres: str) -> None:
    url = with_database(postgres, "migrated")
    execute(url, f"TRUNCATE {', '.join(metadata().tables)} RESTART IDENTITY CASCADE")
    client = start(FakeBot(), database_url=url)
    first, second = (item["id"] for item in Owner(client).running(n=2, k=1).items())
    database = client.app.state.database  # type: ignore[attr-defined]
    with database.writing() as holding, database.reading() as other:
        assert lock_item(holding, first).id == first
        other.execute(sa.text("select id from item where id = :id for update nowait"), {"id": second})
        with pytest.raises(sa.exc.OperationalError, match="could not obtain lock"):
            other.execute(sa.text("select id from item where id = :id for update nowait"), {"id": first})
