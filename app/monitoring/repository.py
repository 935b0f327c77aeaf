"""The SQL of a scrape: what is open, found by indexes, so that its cost does not grow with what is done."""

from typing import NamedTuple

from sqlalchemy import func, literal_column, select
from sqlalchemy.orm import Session

from app.batches.tables import UNFINISHED, Batch
from app.database import now
from app.studies.tables import Assignment


class OpenBatches(NamedTuple):
    """The unfinished batches of one status, and their lines."""

    status: str
    batches: int
    lines: int
    completed: int
    failed: int


def open_batches(session: Session) -> list[OpenBatches]:
    """Return the unfinished batches by status."""
    sums = (func.coalesce(func.sum(column), 0) for column in (Batch.total, Batch.completed, Batch.failed))
    query = select(Batch.status, func.count(), *sums).where(Batch.status.in_(UNFINISHED)).group_by(Batch.status)
    return [OpenBatches(status, *map(int, numbers)) for status, *numbers in session.execute(query)]


def open_leases(session: Session) -> int:
    """Return how many items raters hold just now."""
    # The state is written out: a parameter would keep SQLite from the partial index, which has the open leases alone.
    leased = Assignment.state == literal_column("'leased'")
    return session.scalar(select(func.count()).where(leased, Assignment.expires_at > now())) or 0
