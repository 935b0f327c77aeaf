"""The SQL of files."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, exists, inspect, select, tuple_
from sqlalchemy.orm import Session

from app.batches.tables import UNFINISHED, Batch
from app.database import insert_if_absent, now
from app.files.tables import StoredFile


def add(
    session: Session, file_id: str, purpose: str, filename: str, size: int, owner_id: int | None = None
) -> StoredFile:
    """Store what is known of a file; one that is known already stays as it is."""
    insert_if_absent(
        session,
        StoredFile,
        id=file_id,
        purpose=purpose,
        filename=filename,
        bytes=size,
        created_at=now(),
        owner_id=owner_id,
    )
    return session.get_one(StoredFile, file_id)


def get(session: Session, file_id: str, *, lock: bool = False) -> StoredFile | None:
    """Return a file; with `lock` nobody else changes it before this transaction ends."""
    return session.get(StoredFile, file_id, with_for_update=lock or None)


def page(
    session: Session,
    after: StoredFile | None,
    limit: int,
    purpose: str | None,
    *,
    newest_first: bool,
    owner_ids: Sequence[int] | None = None,
) -> Sequence[StoredFile]:
    """Return up to `limit` files behind `after`, of all or of some owners."""
    key = tuple_(StoredFile.created_at, StoredFile.id)
    query = select(StoredFile).limit(limit)
    if purpose is not None:
        query = query.where(StoredFile.purpose == purpose)
    if owner_ids is not None:
        query = query.where(StoredFile.owner_id.in_(owner_ids))
    if after is not None:
        # Bound by their columns' own types: a bare tuple would not know SQLite's form of a moment.
        place = tuple_(after.created_at, after.id, types=(StoredFile.created_at.type, StoredFile.id.type))
        query = query.where(key < place if newest_first else key > place)
    columns = (StoredFile.created_at, StoredFile.id)
    query = query.order_by(*(column.desc() for column in columns) if newest_first else columns)
    return session.scalars(query).all()


def is_needed(session: Session, file_id: str) -> bool:
    """Say whether a batch that is not finished reads the file."""
    needed = select(exists().where(Batch.input_file_id == file_id, Batch.status.in_(UNFINISHED)))
    return bool(session.scalar(needed))


def older_than(session: Session, before: datetime) -> Sequence[StoredFile]:
    """Return the files made before `before` that no unfinished batch reads."""
    needed = exists().where(Batch.input_file_id == StoredFile.id, Batch.status.in_(UNFINISHED))
    return session.scalars(select(StoredFile).where(StoredFile.created_at < before, ~needed)).all()


def all_ids(connection: Connection) -> list[str]:
    """Return the ids of all files; none where the schema is older than files are."""
    if not inspect(connection).has_table(StoredFile.__tablename__):
        return []
    return list(connection.scalars(select(StoredFile.id).order_by(StoredFile.id)))
