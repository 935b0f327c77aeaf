"""Bringing the database to the newest schema: Alembic, run from inside the program, by one process at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from app.database import Table, open_engine
from chatbot.errors import RejoinderError

MIGRATIONS: Final = Path(__file__).parents[1] / "migrations"
"""Beside `app`, in the repository as where it is installed."""

LOCK: Final = 7_305_611_908_143_772_016
"""Names our advisory lock in PostgreSQL; any number that nobody else uses."""


def metadata() -> sa.MetaData:
    """Return the schema as the code has it, every feature's tables included."""
    from app.audit import tables as _audit
    from app.batches import tables as _batches
    from app.chat import tables as _chat
    from app.files import tables as _files
    from app.keys import tables as _keys
    from app.pages.chat import tables as _pages
    from app.rate_limits import tables as _rate_limits
    from app.raters import tables as _raters
    from app.ratings import tables as _ratings
    from app.results import tables as _results
    from app.studies import tables as _studies

    # Importing them is what adds their tables.
    del _audit, _batches, _chat, _files, _keys, _pages, _rate_limits, _raters, _ratings, _results, _studies
    return Table.metadata


@cache
def newest_revision() -> str:
    """Return the name of the newest schema that this program knows."""
    return revisions()[0]


@cache
def revisions() -> tuple[str, ...]:
    """Return the names of all schemas that this program knows, the newest first."""
    return tuple(script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions())


def revision_of(connection: sa.Connection) -> str | None:
    """Return the name of a database's schema; None where there is none yet. Raises SQLAlchemyError."""
    return MigrationContext.configure(connection).get_current_revision()


def migrate_database(url: str, revision: str = "head") -> None:
    """Bring the database at `url` up to `revision`, the newest schema, in one transaction: all of it or nothing.

    Raises RejoinderError when the database does not answer or was made by a newer version of the program.
    """
    with _alone(url) as config:
        command.upgrade(config, revision)


def downgrade_database(url: str, revision: str) -> None:
    """Take the database at `url` back to `revision` (`base` for nothing at all), in one transaction.

    Raises RejoinderError as `migrate_database` does.
    """
    with _alone(url) as config:
        command.downgrade(config, revision)


@contextmanager
def _alone(url: str) -> Iterator[Config]:
    """Give Alembic's configuration on a connection that no other process can migrate beside."""
    # Alembic rebuilds SQLite tables by dropping them, and a DROP with foreign keys on deletes the rows that refer to
    # it; the switch is ignored inside a transaction, hence an engine of its own.
    engine = open_engine(url, foreign_keys=False)
    try:
        with engine.execution_options(writes=True).begin() as connection:  # on SQLite this is the lock
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SET LOCAL lock_timeout = 0")  # another process migrates: that may take long
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = connection
            yield config
            if connection.dialect.name == "sqlite":
                dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
                if dangling is not None:
                    raise RejoinderError(f"the migration would leave a dangling reference in {dangling[0]}")
    except sa.exc.DatabaseError as error:
        reason = (str(error.orig).strip().splitlines() or ["no reason given"])[0]
        raise RejoinderError(f"the database cannot be opened: {reason}") from error
    except CommandError as error:
        raise RejoinderError(
            f"the database was made by a newer version of Rejoinder, or by another program ({error})"
        ) from error
    finally:
        engine.dispose()
