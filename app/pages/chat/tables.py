"""Live conversations of the chat page."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Instant, Key, Table


class Conversation(Table):
    """A conversation; whoever has its id, which cannot be guessed, can go on with it."""

    __tablename__ = "conversation"

    id: Mapped[str] = mapped_column(String(48), primary_key=True)
    visitor_sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    """Whose side bar it stands in: the hash of a random cookie. NULL for a browser that takes none."""
    shared: Mapped[bool] = mapped_column(default=True)
    """False where the visitor asked for their words not to be used: no export tells them."""
    created_at: Mapped[datetime] = mapped_column(Instant)


class Turn(Table):
    """One turn; the model's point to the reply that was served. Deleted with its conversation.

    A turn that was edited, or a reply that was drawn anew, stays with the moment when it was replaced.
    """

    __tablename__ = "turn"
    __table_args__ = (
        Index(
            "uq_turn_live",
            "conversation_id",
            "position",
            unique=True,
            sqlite_where=text("replaced_at is null"),
            postgresql_where=text("replaced_at is null"),
        ),
        CheckConstraint("(role = 'assistant') = (response_id is not null)", name="response"),
        CheckConstraint("role in ('user', 'assistant')", name="role"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversation.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    role: Mapped[str] = mapped_column(String(16))
    text: Mapped[str] = mapped_column(Text)
    response_id: Mapped[str | None] = mapped_column(ForeignKey("response.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(Instant)
    replaced_at: Mapped[datetime | None] = mapped_column(Instant)
