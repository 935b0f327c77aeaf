"""Live conversations of the chat page."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Instant, Key, Table


class Conversation(Table):
    """A conversation; whoever has its id, which cannot be guessed, can go on with it."""

    __tablename__ = "conversation"

    id: Mapped[str] = mapped_column(String(48), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(Instant)


class Turn(Table):
    """One turn; the model's point to the reply that was served. Deleted with its conversation."""

    __tablename__ = "turn"
    __table_args__ = (
        UniqueConstraint("conversation_id", "position"),
        CheckConstraint("(role = 'assistant') = (response_id is not null)", name="response"),
        CheckConstraint("role in ('user', 'assistant')", name="role"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversation.id", ondelete="CASCADE"))
    position: Mapped[int]
    role: Mapped[str] = mapped_column(String(16))
    text: Mapped[str] = mapped_column(Text)
    response_id: Mapped[str | None] = mapped_column(ForeignKey("response.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(Instant)
