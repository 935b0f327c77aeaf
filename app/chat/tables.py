"""What was asked and what was answered, complete enough to attribute every later judgement."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Double, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Instant, Json, Key, Table


class System(Table):
    """Something that replies: a checkpoint with its decoding today; a human is a system too.

    `weights_sha256` is empty, not NULL, where there are no weights: NULLs are never equal, so the rule that keeps
    systems unique would not hold for them.
    """

    __tablename__ = "system"
    __table_args__ = (
        UniqueConstraint("name", "weights_sha256", "decoding_sha256"),
        CheckConstraint("kind in ('checkpoint', 'human', 'baseline')", name="kind"),
        CheckConstraint("(kind = 'checkpoint') = (weights_sha256 <> '')", name="weights"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    kind: Mapped[str] = mapped_column(String(16))
    weights_sha256: Mapped[str] = mapped_column(String(64))
    decoding: Mapped[dict[str, Any]] = mapped_column(Json)
    decoding_sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(Instant)
    retired_at: Mapped[datetime | None] = mapped_column(Instant)


class Context(Table):
    """A history that was answered, frozen as it was: what a rater sees above the reply."""

    __tablename__ = "context"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    messages: Mapped[list[dict[str, str]]] = mapped_column(Json)
    source: Mapped[str | None] = mapped_column(String(255))
    """Where it was first taken from; NULL for what somebody said to the service."""
    split: Mapped[str | None] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(Instant)


class Response(Table):
    """One reply that was served; never updated. Its id is the one that the client was told."""

    __tablename__ = "response"
    __table_args__ = (
        CheckConstraint("finish_reason in ('stop', 'length')", name="finish_reason"),
        CheckConstraint("tokens >= 0 and context_tokens >= 0 and latency_ms >= 0", name="counts"),
    )

    id: Mapped[str] = mapped_column(String(48), primary_key=True)
    system_id: Mapped[int] = mapped_column(ForeignKey("system.id"), index=True)
    context_id: Mapped[int] = mapped_column(ForeignKey("context.id"), index=True)
    text: Mapped[str] = mapped_column(Text)
    seed: Mapped[int] = mapped_column(BigInteger)
    choice: Mapped[int]
    """Its place among the replies to the same request; with the seed it names the random stream."""
    finish_reason: Mapped[str] = mapped_column(String(16))
    tokens: Mapped[int]
    context_tokens: Mapped[int]
    turns_used: Mapped[int]
    """How many of the context's newest turns the model could read."""
    score: Mapped[float | None] = mapped_column(Double)
    """The discriminator's probability that a human wrote it."""
    latency_ms: Mapped[int]
    """From the moment it was asked for, waiting in the queue included."""
    created_at: Mapped[datetime] = mapped_column(Instant, index=True)
