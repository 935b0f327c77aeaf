"""The SQL of counters."""

import secrets
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.database import insert_if_absent
from app.rate_limits.tables import DailySecret, RateCounter

_TOGETHER = 500


class Hits(NamedTuple):
    """Requests in one window, or all of them after these were added."""

    bucket: str
    window_start: int
    hits: int
    ends: int
    """Unix time."""


def add(session: Session, hits: Sequence[Hits]) -> list[Hits]:
    """Add to the counters, and return what they hold now; one statement for up to 500 of them."""
    totals: list[Hits] = []
    ordered = sorted(hits)  # replicas that took rows in different orders would wait for each other
    for first in range(0, len(ordered), _TOGETHER):
        part = ordered[first : first + _TOGETHER]
        insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
        statement = insert(RateCounter).values(
            [
                {
                    "bucket": one.bucket,
                    "window_start": one.window_start,
                    "hits": one.hits,
                    "ends_at": datetime.fromtimestamp(one.ends, UTC),
                }
                for one in part
            ]
        )
        added = statement.on_conflict_do_update(
            index_elements=[RateCounter.bucket, RateCounter.window_start],
            set_={"hits": RateCounter.hits + statement.excluded.hits},
        ).returning(RateCounter.bucket, RateCounter.window_start, RateCounter.hits, RateCounter.ends_at)
        totals += [Hits(*row[:3], int(row[3].timestamp())) for row in session.execute(added)]
    return totals


def forget(session: Session, before: datetime) -> None:
    """Delete the counters whose windows ended before a moment."""
    session.execute(delete(RateCounter).where(RateCounter.ends_at < before))


def secret_of(session: Session, day: date) -> bytes:
    """Return a day's secret, made by whoever asks first; those of days before are deleted."""
    session.execute(delete(DailySecret).where(DailySecret.day < day))
    insert_if_absent(session, DailySecret, day=day, secret=secrets.token_bytes(32))
    return session.get_one(DailySecret, day).secret
