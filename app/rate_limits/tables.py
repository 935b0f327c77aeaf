"""What was asked how often. Addresses are here under a name that cannot be led back to them, and for minutes."""

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, Date, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Instant, Table


class RateCounter(Table):
    """The requests of one key or address in one window of time; deleted when the window is over."""

    __tablename__ = "rate_counter"
    __table_args__ = (CheckConstraint("hits >= 0", name="hits"),)

    bucket: Mapped[str] = mapped_column(String(255), primary_key=True)
    window_start: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """Unix time."""
    hits: Mapped[int] = mapped_column(BigInteger)
    ends_at: Mapped[datetime] = mapped_column(Instant, index=True)


class DailySecret(Table):
    """What addresses are hashed with today, the same in all replicas; yesterday's is deleted."""

    __tablename__ = "daily_secret"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
