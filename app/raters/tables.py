"""Raters and the invitations they came by."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Instant, Key, Table


class Invitation(Table):
    """A link that lets raters into one study; its token is known by its hash alone."""

    __tablename__ = "invitation"
    __table_args__ = (CheckConstraint("max_raters >= 1", name="max_raters"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    label: Mapped[str] = mapped_column(String(255))
    max_raters: Mapped[int]
    expires_at: Mapped[datetime | None] = mapped_column(Instant)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)
    created_at: Mapped[datetime] = mapped_column(Instant)


class Rater(Table):
    """Somebody who judges. After erasure only the public id is left, under which the numbers stay."""

    __tablename__ = "rater"
    __table_args__ = (
        CheckConstraint("kind in ('invited', 'chat', 'simulated')", name="kind"),
        CheckConstraint("(consent_version is null) = (consented_at is null)", name="consent"),
        CheckConstraint("erased_at is null or (external_ref is null and token_sha256 is null)", name="erased"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(48), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    invitation_id: Mapped[int | None] = mapped_column(ForeignKey("invitation.id"), index=True)
    external_ref: Mapped[str | None] = mapped_column(String(255))
    """What the owner of the study knows the rater by: the only identity in the database."""
    token_sha256: Mapped[str | None] = mapped_column(String(64), unique=True)
    consent_version: Mapped[str | None] = mapped_column(String(64))
    consented_at: Mapped[datetime | None] = mapped_column(Instant)
    created_at: Mapped[datetime] = mapped_column(Instant)
    erased_at: Mapped[datetime | None] = mapped_column(Instant)
