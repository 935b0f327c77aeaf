"""Studies, their items, and who was given which."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Instant, Json, JsonOrNull, Key, Table


class Study(Table):
    """A study. Its protocol, written before any data comes in, never changes once it runs."""

    __tablename__ = "study"
    __table_args__ = (
        CheckConstraint("status in ('draft', 'running', 'closed')", name="status"),
        CheckConstraint("status = 'draft' or started_at is not null", name="started"),
        CheckConstraint("(status = 'closed') = (closed_at is not null)", name="closed"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    slug: Mapped[str] = mapped_column(String(64), unique=True)
    title: Mapped[str] = mapped_column(String(255))
    protocol: Mapped[dict[str, Any]] = mapped_column(Json)
    """`app.studies.protocol.Protocol` as JSON."""
    seed: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(Instant)
    started_at: Mapped[datetime | None] = mapped_column(Instant)
    closed_at: Mapped[datetime | None] = mapped_column(Instant)


class Dimension(Table):
    """What a scale study asks about each reply."""

    __tablename__ = "dimension"
    __table_args__ = (UniqueConstraint("study_id", "name"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    position: Mapped[int]
    name: Mapped[str] = mapped_column(String(64))
    anchors: Mapped[dict[str, str]] = mapped_column(Json)
    """What "1", "3" and "5" mean."""


class Item(Table):
    """One thing to judge: a context and one reply, or two.

    `gold` says which answer is right: {"choice": ...} in a pair or human-or-machine, {"dimension", "low", "high"} on a
    scale. `target` is how many raters judge it; NULL for gold, which every rater may meet. A repeat shows a rater the
    item `repeats_item_id` that they judged before, with the sides swapped.
    """

    __tablename__ = "item"
    __table_args__ = (
        UniqueConstraint("study_id", "position"),
        # IS NULL on both sides, never a bare comparison: a CHECK passes when its condition is NULL.
        CheckConstraint("kind in ('scale', 'pair', 'turing')", name="kind"),
        CheckConstraint("purpose in ('normal', 'gold', 'aa', 'repeat')", name="purpose"),
        CheckConstraint("status in ('open', 'done', 'withdrawn')", name="status"),
        CheckConstraint("(kind = 'pair') = (response_b_id is not null)", name="pair"),
        CheckConstraint("response_b_id is null or response_a_id <> response_b_id", name="two_replies"),
        CheckConstraint("(purpose = 'gold') = (gold is not null)", name="gold"),
        CheckConstraint("(purpose = 'gold') = (target is null)", name="target"),
        CheckConstraint("(purpose = 'repeat') = (repeats_item_id is not null)", name="repeat"),
        CheckConstraint("done >= 0 and (target is null or (target >= 1 and done <= target))", name="done"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    position: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16))
    purpose: Mapped[str] = mapped_column(String(16))
    context_id: Mapped[int] = mapped_column(ForeignKey("context.id"), index=True)
    response_a_id: Mapped[str] = mapped_column(ForeignKey("response.id"), index=True)
    response_b_id: Mapped[str | None] = mapped_column(ForeignKey("response.id"), index=True)
    gold: Mapped[dict[str, Any] | None] = mapped_column(JsonOrNull)
    repeats_item_id: Mapped[int | None] = mapped_column(ForeignKey("item.id"), index=True)
    target: Mapped[int | None]
    done: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))


class Assignment(Table):
    """One item in one rater's hands: first the lease, then the result, in the same row."""

    __tablename__ = "assignment"
    __table_args__ = (
        UniqueConstraint("item_id", "rater_id"),
        # One open lease for each rater, so that two tabs of one browser get the same item.
        Index(
            "uq_assignment_open_lease",
            "rater_id",
            unique=True,
            sqlite_where=text("state = 'leased'"),
            postgresql_where=text("state = 'leased'"),
        ),
        CheckConstraint("state in ('leased', 'done', 'skipped', 'expired')", name="state"),
        CheckConstraint("(state in ('done', 'skipped')) = (finished_at is not null)", name="finished"),
        CheckConstraint("(state = 'skipped') = (skip_reason is not null)", name="skipped"),
        CheckConstraint("flag_comment is null or flag is not null", name="flag"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id"))
    rater_id: Mapped[int] = mapped_column(ForeignKey("rater.id"), index=True)
    state: Mapped[str] = mapped_column(String(16))
    swapped: Mapped[bool]
    """Whether the item's response b is shown on the left."""
    lease_token: Mapped[str] = mapped_column(String(48), unique=True)
    leased_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    finished_at: Mapped[datetime | None] = mapped_column(Instant)
    skip_reason: Mapped[str | None] = mapped_column(String(32))
    flag: Mapped[str | None] = mapped_column(String(32))
    """What the rater says is wrong with the item itself."""
    flag_comment: Mapped[str | None] = mapped_column(Text)
