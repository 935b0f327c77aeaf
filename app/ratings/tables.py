"""Judgements of served replies, and the requests that must not count twice."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Instant, Json, Key, Table


class Judgement(Table):
    """What somebody thought of a reply. A later one supersedes it; nothing is overwritten."""

    __tablename__ = "judgement"
    __table_args__ = (
        # "is not null" is not idle: a CHECK passes when its condition is NULL.
        CheckConstraint("kind = 'thumb' and value is not null and value in (-1, 1)", name="value_by_kind"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    response_id: Mapped[str] = mapped_column(ForeignKey("response.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    value: Mapped[int | None]
    comment: Mapped[str | None] = mapped_column(Text)
    # Unique: two judgements cannot supersede the same one, so each reply's judgements are a chain with one live end.
    supersedes: Mapped[int | None] = mapped_column(ForeignKey("judgement.id"), unique=True)
    created_at: Mapped[datetime] = mapped_column(Instant)


class IdempotencyRecord(Table):
    """A request that was carried out, by the key that its client gave it, and what was answered."""

    __tablename__ = "idempotency_record"

    route: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_sha256: Mapped[str] = mapped_column(String(64))
    answer: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(Instant, index=True)
