"""The SQL of batches. A batch's row is locked before its lines are touched: two may be at work on it for a moment."""

from collections.abc import Iterator, Sequence

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.orm import Session

from app.batches.tables import UNFINISHED, Batch, BatchLine, Replica
from app.database import insert_if_absent, now

_PAGE = 1000


def get(session: Session, batch_id: str, *, lock: bool = False) -> Batch | None:
    """Return a batch; with `lock` nobody else changes it before this transaction ends."""
    return session.get(Batch, batch_id, with_for_update=lock or None)


def page(session: Session, after: Batch | None, limit: int, owner_ids: Sequence[int] | None = None) -> Sequence[Batch]:
    """Return up to `limit` batches older than `after`, newest first, of all or of some owners."""
    query = select(Batch).order_by(Batch.created_at.desc(), Batch.id.desc()).limit(limit)
    if owner_ids is not None:
        query = query.where(Batch.owner_id.in_(owner_ids))
    if after is not None:
        place = tuple_(after.created_at, after.id, types=(Batch.created_at.type, Batch.id.type))
        query = query.where(tuple_(Batch.created_at, Batch.id) < place)
    return session.scalars(query).all()


def unfinished(session: Session) -> Sequence[str]:
    """Return the ids of the batches that are not finished, oldest first."""
    return session.scalars(select(Batch.id).where(Batch.status.in_(UNFINISHED)).order_by(Batch.created_at)).all()


def cancelling(session: Session) -> Sequence[str]:
    """Return the ids of the batches that are to stop."""
    return session.scalars(select(Batch.id).where(Batch.status == "cancelling")).all()


def answered(session: Session, batch_id: str, numbers: Sequence[int]) -> set[int]:
    """Return which of the lines `numbers` are answered."""
    query = select(BatchLine.number).where(BatchLine.batch_id == batch_id, BatchLine.number.in_(numbers))
    return set(session.scalars(query))


def add_line(session: Session, batch: Batch, number: int, answer: str, *, failed: bool) -> bool:
    """Store the answer to a line unless there is one, count it, and say whether it was stored."""
    stored = insert_if_absent(session, BatchLine, batch_id=batch.id, number=number, failed=failed, answer=answer)
    if stored and failed:
        batch.failed += 1
    elif stored:
        batch.completed += 1
    return stored


def lines(session: Session, batch_id: str) -> Iterator[tuple[int, bool, str]]:
    """Yield number, failure and answer of each answered line, in order; a few at a time are in memory."""
    last = 0
    while True:
        query = (
            select(BatchLine.number, BatchLine.failed, BatchLine.answer)
            .where(BatchLine.batch_id == batch_id, BatchLine.number > last)
            .order_by(BatchLine.number)
            .limit(_PAGE)
        )
        found = [(number, failed, answer) for number, failed, answer in session.execute(query)]
        yield from found
        if len(found) < _PAGE:
            return
        last = found[-1][0]


def delete_lines(session: Session, batch_id: str) -> None:
    """Delete the lines of a batch: they are in its files."""
    session.execute(delete(BatchLine).where(BatchLine.batch_id == batch_id))


def beat(session: Session, replica_id: str) -> None:
    """Say that this replica lives."""
    values = {"beats": Replica.beats + 1, "seen_at": now()}
    changed = session.execute(
        update(Replica).where(Replica.id == replica_id).values(values).returning(Replica.beats)
    ).first()
    if changed is None:  # new here, or taken for dead while it was only slow
        insert_if_absent(session, Replica, id=replica_id, beats=1, seen_at=now())


def leave(session: Session, replica_id: str) -> None:
    """Say that this replica has ended in order: nobody needs to wait before taking over."""
    session.execute(update(Replica).where(Replica.id == replica_id).values(beats=-1, seen_at=now()))


def replicas(session: Session) -> dict[str, int]:
    """Return the replicas with their counts."""
    return {replica.id: replica.beats for replica in session.scalars(select(Replica))}


def bury(session: Session, replica_id: str, beats: int) -> bool:
    """Delete a dead replica, and say whether it was still there with that count; who deletes it takes over."""
    query = delete(Replica).where(Replica.id == replica_id, Replica.beats == beats).returning(Replica.id)
    return session.execute(query).first() is not None
