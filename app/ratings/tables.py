"""Judgements of served replies and of items, and the requests that must not count twice."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Instant, Json, JsonOrNull, Key, Table


def _first_of(name: str, *columns: str, where: str) -> Index:
    """Return the rule that there is one judgement that supersedes none."""
    condition = text(f"supersedes is null and {where}")
    return Index(f"uq_judgement_{name}", *columns, unique=True, sqlite_where=condition, postgresql_where=condition)


class Judgement(Table):
    """What somebody thought of a served reply, or of an assignment's item; superseded, never overwritten.

    The judgements of one reply or assignment on one dimension by one rater are a chain with one live end: there is one
    first (the three partial indexes), and each is superseded once (`supersedes` is unique).
    """

    __tablename__ = "judgement"
    __table_args__ = (
        CheckConstraint("(response_id is null) <> (assignment_id is null)", name="about_one_thing"),
        # "is not null" is not idle: a CHECK passes when its condition is NULL.
        CheckConstraint(
            "(kind = 'thumb' and response_id is not null and dimension = '' and choice is null"
            " and value is not null and value in (-1, 1))"
            " or (kind = 'scale' and dimension <> '' and choice is null"
            " and value is not null and value between 1 and 5)"
            " or (kind = 'pair' and assignment_id is not null and dimension = '' and value is null"
            " and choice is not null and choice in ('a', 'b', 'tie', 'both_bad') and side is not null)"
            " or (kind = 'turing' and assignment_id is not null and dimension = '' and value is null"
            " and choice is not null and choice in ('human', 'machine'))",
            name="value_by_kind",
        ),
        CheckConstraint("side is null or (kind = 'pair' and side in ('left', 'right'))", name="side"),
        CheckConstraint("assignment_id is null or rater_id is not null", name="rater"),
        CheckConstraint("dwell_ms is null or dwell_ms >= 0", name="dwell"),
        _first_of("assignment", "assignment_id", "dimension", where="assignment_id is not null"),
        _first_of("rater", "response_id", "rater_id", "dimension", where="rater_id is not null"),
        _first_of("anonymous", "response_id", "dimension", where="rater_id is null"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    response_id: Mapped[str | None] = mapped_column(ForeignKey("response.id"), index=True)
    assignment_id: Mapped[int | None] = mapped_column(ForeignKey("assignment.id"), index=True)
    rater_id: Mapped[int | None] = mapped_column(ForeignKey("rater.id"), index=True)
    """NULL for a thumb given by nobody in particular, as in the chat."""
    kind: Mapped[str] = mapped_column(String(16))
    dimension: Mapped[str] = mapped_column(String(64), default="")
    """Empty, not NULL, where there is none: NULLs are never equal, so no index would keep such rows unique."""
    value: Mapped[int | None]
    choice: Mapped[str | None] = mapped_column(String(16))
    """The item's response that was preferred, `a` or `b`, and never the side that it stood on."""
    side: Mapped[str | None] = mapped_column(String(8))
    """Where the item's response `a` stood."""
    blind: Mapped[bool] = mapped_column(default=False)
    """Whether the rater could not know the system."""
    dwell_ms: Mapped[int | None]
    reasons: Mapped[list[str] | None] = mapped_column(JsonOrNull)
    comment: Mapped[str | None] = mapped_column(Text)
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
