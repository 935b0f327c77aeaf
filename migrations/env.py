"""Alembic's entry: runs the revisions on the connection it is handed, or on the configured database."""

from typing import Literal

from alembic import context
from sqlalchemy import Connection

from app.database import Instant, open_engine
from app.migration import metadata
from app.settings import Settings


def _render(kind: str, item: object, autogen_context: object) -> str | Literal[False]:
    # A revision must not change when the code does, so it never names our own types.
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, Instant) else False


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata(),
        render_as_batch=True,  # SQLite changes a table by building it anew
        compare_type=True,
        render_item=_render,
    )
    with context.begin_transaction():
        context.run_migrations()


connection = context.config.attributes.get("connection")
if connection is not None:
    _run(connection)
else:  # the `alembic` command, as in `alembic revision --autogenerate`
    engine = open_engine(Settings().database, foreign_keys=False)
    with engine.execution_options(writes=True).begin() as connection:
        _run(connection)
    engine.dispose()
