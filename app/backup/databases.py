"""Copies of a database while others write to it: SQLite by its own backup, PostgreSQL by pg_dump."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from app.backup.archive import BackupError

_VARIABLES: Final = {"username": "PGUSER", "host": "PGHOST", "port": "PGPORT", "database": "PGDATABASE"}


def copy_sqlite(source: Path, target: Path) -> None:
    """Write the database at `source` as it is at one moment to `target`; its writers go on meanwhile.

    Raises BackupError when it cannot be read or is damaged.
    """
    try:
        # mode=rw: none is made where there is none. In WAL, one reading sees one moment, however long it takes.
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True, timeout=30)) as live,
            closing(sqlite3.connect(target)) as copy,
        ):
            live.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # else it would be of several files
        check_sqlite(target)
    except sqlite3.Error as error:
        raise BackupError(f"{source}: cannot be copied ({error})") from None


def check_sqlite(path: Path) -> None:
    """Raise BackupError when the database at `path` is damaged."""
    try:
        with closing(sqlite3.connect(path)) as copy:
            [[said]] = copy.execute("PRAGMA integrity_check(1)").fetchall()
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        raise BackupError(f"{path.name}: the database is damaged ({said})")


def can_dump() -> bool:
    """Say whether pg_dump is on this machine."""
    return shutil.which("pg_dump") is not None


def dump_postgres(url: sa.URL, target: Path) -> None:
    """Write the database at `url` as it is at one moment to `target`, for pg_restore. Raises BackupError."""
    command = ["pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={target}"]
    done = subprocess.run(command, env=environment_of(url), capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise BackupError(f"pg_dump failed: {reason}")


def environment_of(url: sa.URL) -> dict[str, str]:
    """Return the environment in which PostgreSQL's programs find `url`; a command line would show its password."""
    found = dict(os.environ)
    for part, variable in _VARIABLES.items():
        if (value := getattr(url, part)) is not None:
            found[variable] = str(value)
    if url.password is not None:
        found["PGPASSWORD"] = str(url.password)
    for name, value in url.query.items():  # such as sslmode, or a socket's directory as host
        found[f"PG{name.upper()}"] = value if isinstance(value, str) else value[0]
    return found
