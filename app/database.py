"""The database: how it is opened, how a transaction begins and ends. Knows SQLite's and PostgreSQL's habits, no table.

Nobody else commits: a unit of work is `with database.writing() as session`, or the session dependencies of a route,
which are the same thing around the route's function.
"""

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import sqlalchemy as sa
from anyio import CancelScope, CapacityLimiter, to_thread
from fastapi import Depends, Request
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.types import TypeDecorator

from chatbot.errors import RejoinderError

T = TypeVar("T")

NAMING: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# hide_parameters: what people say must not reach the log inside the message of some database error.
POOL: Final[dict[str, Any]] = {"pool_size": 10, "max_overflow": 20, "pool_timeout": 10, "hide_parameters": True}

PATIENCE: Final = {"connect_timeout": "5", "keepalives_idle": "10", "tcp_user_timeout": "20000"}
"""With a PostgreSQL server that vanished: a connection to a machine that is gone would hold its thread for minutes."""
LOCK_SECONDS: Final = 10
"""Nobody holds a lock for long but a process that hangs: those who wait for it answer 503 then."""
IDLE_SECONDS: Final = 90
"""Then the server ends the transaction of a process that hangs, and its locks are free. Longer than a reader of an
export may keep us waiting."""

CLOSE_SECONDS: Final = 5
"""For whoever is still at work in a thread when the service ends."""

Json: Final = sa.JSON().with_variant(JSONB(), "postgresql")
JsonOrNull: Final = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""For columns that may be NULL: `Json` would store None as the JSON value null, which IS NOT NULL."""
Key: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A number that counts up by itself; SQLite does so for INTEGER alone."""


class Instant(TypeDecorator[datetime]):
    """A moment in UTC. SQLite forgets the zone, so it is put back on the way out."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return `value` in UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return `value` with its zone."""
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


class Table(DeclarativeBase):
    """A table of the service."""

    metadata = sa.MetaData(naming_convention=NAMING)


def now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


def open_engine(url: str, *, foreign_keys: bool = True) -> sa.Engine:
    """Return an engine for `url` (`sqlite:///FILE` or `postgresql://...`); nothing is connected yet.

    Raises RejoinderError when the URL is no such URL or the driver is not installed.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        # The URL is not repeated: it may hold a password.
        raise RejoinderError("the database URL cannot be read; expected postgresql://USER:PASSWORD@HOST/NAME") from None
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    try:
        if parsed.drivername == "postgresql+psycopg":
            return _open_postgres(parsed)
        if parsed.drivername == "sqlite" and parsed.database not in (None, "", ":memory:"):
            return _open_sqlite(parsed, foreign_keys=foreign_keys)
    except ModuleNotFoundError:
        raise RejoinderError("PostgreSQL needs its driver: pip install 'rejoinder[postgres]'") from None
    raise RejoinderError(
        f"the database URL begins with {parsed.drivername!r}; expected postgresql:// or sqlite:///FILE"
    )


def _open_postgres(url: sa.URL) -> sa.Engine:
    given = {name: value for name, value in PATIENCE.items() if name not in url.query}
    engine = sa.create_engine(url.update_query_dict(given), pool_pre_ping=True, **POOL)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
            cursor.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
        connection.commit()

    return engine


def _open_sqlite(url: sa.URL, *, foreign_keys: bool) -> sa.Engine:
    assert url.database is not None
    folder = Path(url.database).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RejoinderError(f"{folder}: the state directory cannot be made ({error.strerror})") from None
    engine = sa.create_engine(url, **POOL)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN is deferred and comes too late: we say it ourselves
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout = 10000")  # first, so that switching to WAL waits too
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA secure_delete = ON")  # what is erased must not stay in the file's unused bytes
        cursor.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A writer that starts as a reader fails with "database is locked" when another writes between: it locks first.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


class Database:
    """One database and its units of work."""

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        self._reader = sessionmaker(self.engine, expire_on_commit=False)
        self._writer = sessionmaker(self.engine.execution_options(writes=True), expire_on_commit=False)
        # SQLite has one writer at a time, and those who wait there sleep and ask again, the unlucky for over a second:
        # they wait in our own fair queue instead.
        self._writers = CapacityLimiter(1 if self.engine.dialect.name == "sqlite" else 20)
        self._threads = threading.Condition()
        self._working = 0
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session whose changes are never kept."""
        with self._reader() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Give a session that is committed when the block ends well, and rolled back otherwise."""
        with self._writer.begin() as session:
            yield session

    @asynccontextmanager
    async def writing_in_turn(self) -> AsyncIterator[Session]:
        """Give what `writing` gives once the writers who came before are done; who waits occupies no thread.

        Else 40 of them would fill the thread pool, each asking SQLite again and again for a lock whose holder waits for
        a thread to go on in.
        """
        async with self._writers:
            unit = self._writer.begin()
            session = unit.__enter__()  # connects to nothing yet
            try:
                yield session
            except BaseException as error:
                with CancelScope(shield=True):
                    await to_thread.run_sync(unit.__exit__, type(error), error, error.__traceback__)
                raise
            with CancelScope(shield=True):
                await to_thread.run_sync(unit.__exit__, None, None, None)

    async def read(self, work: Callable[[Session], T]) -> T:
        """Return what `work` returns for a session whose changes are never kept; runs in a thread."""
        return await self._in_thread(work, self.reading)

    async def write(self, work: Callable[[Session], T]) -> T:
        """Return what `work` returns once its changes are committed; runs in a thread.

        Raises what `work` raises, and nothing is kept then.
        """
        return await self._in_thread(work, self.writing, self._writers)

    async def _in_thread(
        self,
        work: Callable[[Session], T],
        unit: Callable[[], AbstractContextManager[Session]],
        limiter: CapacityLimiter | None = None,
    ) -> T:
        def run() -> T:
            with self._at_work(), unit() as session:
                return work(session)

        return await to_thread.run_sync(run, limiter=limiter)

    def tell_of_new(self, table: type[T], hear: Callable[[T], None]) -> None:
        """Call `hear` with each row of `table` that a session adds, once it is committed."""

        def note(session: Session, _: object) -> None:
            session.info.setdefault(table, []).extend(row for row in session.new if isinstance(row, table))

        def tell(session: Session) -> None:
            for row in session.info.pop(table, ()):
                hear(row)

        def forget(session: Session) -> None:
            session.info.pop(table, None)

        event.listen(self._writer, "after_flush", note)
        event.listen(self._writer, "after_commit", tell)
        event.listen(self._writer, "after_rollback", forget)

    def scrub(self) -> bool:
        """Take what was erased out of SQLite's log too, and say whether nothing of it is left there.

        A reader holds on to the log. A server's storage is the server's own affair: nothing is done there.
        """
        if self.engine.dialect.name != "sqlite":
            return True
        connection = self.engine.raw_connection()  # a Connection would begin a transaction, and none may be open
        try:
            cursor = connection.cursor()
            [busy, _, _] = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            cursor.close()
        finally:
            connection.close()
        return not busy

    def close(self) -> None:
        """Drop all connections, when the threads that use them are done or have taken CLOSE_SECONDS.

        A task that is cancelled does not wait for the thread that works for it.
        """
        with self._threads:
            self._closed = True
            self._threads.wait_for(lambda: not self._working, CLOSE_SECONDS)
        self.engine.dispose()

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Have `close` wait for the block. Raises RejoinderError when it has been called already."""
        with self._threads:
            if self._closed:
                raise RejoinderError("the database is closed")
            self._working += 1
        try:
            yield
        finally:
            with self._threads:
                self._working -= 1
                self._threads.notify_all()


def insert_if_absent(session: Session, table: type[Table], **values: object) -> bool:
    """Insert a row unless a unique rule forbids it, and say whether it was inserted.

    Waits for whoever is inserting the same row just now, so a row that was not inserted can be read afterwards.
    """
    # RETURNING, since the count of inserted rows is -1, unknown, for such a statement on PostgreSQL.
    statement = _insert_or_nothing(session, table).values(**values).returning(sa.literal(1))
    return session.execute(statement).first() is not None


def insert_all_if_absent(session: Session, table: type[Table], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert those of `rows` that no unique rule forbids; waits as `insert_if_absent` does."""
    session.execute(_insert_or_nothing(session, table), list(rows))


def _insert_or_nothing(session: Session, table: type[Table]) -> Any:
    dialect: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    return dialect.insert(table).on_conflict_do_nothing()


def _reading_session(request: Request) -> Iterator[Session]:
    database: Database = request.app.state.database
    with database.reading() as session:
        yield session


async def _writing_session(request: Request) -> AsyncIterator[Session]:
    database: Database = request.app.state.database
    async with database.writing_in_turn() as session:
        yield session


# scope="function": the commit comes before the response is sent. With FastAPI's default the client hears 201 first,
# and a commit that then fails is never told.
Reading = Annotated[Session, Depends(_reading_session, scope="function")]
Writing = Annotated[Session, Depends(_writing_session, scope="function")]
