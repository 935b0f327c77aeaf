"""A database and a bundle of an earlier release, as they lay on somebody's disk, under today's program."""

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from app.backup.commands import backup, restore
from app.database import open_engine
from app.engines import ThreadEngine
from app.main import build_generation, create_app
from app.migration import migrate_database, newest_revision
from app.settings import Settings
from chatbot.bot import Bot
from tests.postgres import new_database, postgres

__all__ = ["postgres"]

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden"

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(params=["sqlite", "postgres"])
def old_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a database as release 0002 of its schema left it, of each kind."""
    script = (HERE / f"0002.{request.param}.sql").read_text(encoding="utf-8")
    if request.param == "sqlite":
        path = tmp_path / "state" / "rejoinder.db"
        path.parent.mkdir()
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)
        return f"sqlite:///{path}"
    url = new_database(request.getfixturevalue("postgres"))
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute(script.encode())
    return url


def every_row(url: str, columns: dict[str, list[str]] | None = None) -> Rows:
    """Return all rows by table; with `columns`, of those tables and columns alone."""
    engine = open_engine(url)
    tables = sa.MetaData()
    with engine.connect() as connection:
        tables.reflect(connection)
        wanted = columns or {name: list(table.columns.keys()) for name, table in tables.tables.items()}
        found: Rows = {}
        for name, names in wanted.items():
            query = sa.select(*(tables.tables[name].columns[one] for one in names))
            found[name] = sorted((dict(row) for row in connection.execute(query).mappings()), key=repr)
    engine.dispose()
    return found


def test_nothing_of_an_old_database_is_lost(old_database: str) -> None:
    before = every_row(old_database)
    assert before.pop("alembic_version") == [{"version_num": "0002"}]
    assert sum(map(len, before.values())) == 22
    assert {"judgement", "assignment", "study", "turn", "response"} <= {name for name, rows in before.items() if rows}
    migrate_database(old_database)
    columns = {name: list(rows[0]) for name, rows in before.items() if rows}
    assert every_row(old_database, columns) == {name: before[name] for name in columns}
    assert every_row(old_database, {"alembic_version": ["version_num"]}) == {
        "alembic_version": [{"version_num": newest_revision()}]
    }


def test_the_service_goes_on_with_it_and_with_an_old_bundle(old_database: str, tmp_path: Path) -> None:
    """What was rated is there, ids count on, the old bundle answers as it did, and the board still knows the study."""
    settings = Settings(state=tmp_path / "state", database_url=old_database)
    golden = [one for one in json.loads((GOLDEN / "replies.json").read_text()) if one["bundle"] == "recurrent"]
    plain = next(one for one in golden if one["request"]["best_of"] is None and one["request"]["n"] == 1)
    engine = ThreadEngine([Bot.load(GOLDEN / "recurrent", "cpu", precision="fp32")])
    with TestClient(create_app(settings, build_generation(settings, [engine]))) as client:
        ratings = client.get("/v1/ratings").json()["data"]
        assert [(one["id"], one["thumb"]) for one in ratings if one.get("thumb")] == [(1, -1), (2, 1)]
        assert ratings[0]["comment"] == "太短了 🙂"
        study = client.get("/v1/studies/old-study").json()
        assert (study["title"], study["status"]) == ("Which is better? 哪个更好", "running")
        request = plain["request"]
        body = {
            "model": "recurrent",
            "contexts": [request["turns"]],
            "seed": request["seed"],
            "temperature": request["decoding"]["temperature"],
        }
        [answer] = client.post("/v1/replies", json=body).json()["data"]
        assert answer["replies"][0]["text"] == plain["answer"]["replies"][0]["text"]
        rated = client.post("/v1/ratings", json={"reply_id": answer["replies"][0]["reply_id"], "thumb": 1})
        assert (rated.status_code, rated.json()["id"] > 3) == (201, True)
        assert client.get("/v1/leaderboard").status_code == 200
        assert client.get("/v1/exports/battles").status_code == 200


def test_an_old_backup_is_restored_and_then_upgraded(old_database: str, tmp_path: Path) -> None:
    if not old_database.startswith("sqlite"):
        pytest.skip("the way of a dump is pg_restore's")
    backup(tmp_path / "old.tar", state=tmp_path / "state")
    restore(tmp_path / "old.tar", tmp_path / "again")
    url = f"sqlite:///{tmp_path / 'again' / 'rejoinder.db'}"
    assert every_row(url) == every_row(old_database)
    migrate_database(url)
    assert every_row(url, {"judgement": ["id", "value"]}) == every_row(old_database, {"judgement": ["id", "value"]})
