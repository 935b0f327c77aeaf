"""The batches, the lines that are answered so far, and who is at work."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Instant, JsonOrNull, Table

UNFINISHED: Final = ("validating", "in_progress", "finalizing", "cancelling")


class Batch(Table):
    """A file of requests and what came of it."""

    __tablename__ = "batch"
    __table_args__ = (
        CheckConstraint(
            "status in ('validating', 'in_progress', 'finalizing', 'completed', 'failed', 'expired', 'cancelling',"
            " 'cancelled')",
            name="status",
        ),
        CheckConstraint("completed >= 0 and failed >= 0 and completed + failed <= total", name="counts"),
        CheckConstraint(
            "(status in ('completed', 'failed', 'expired', 'cancelled')) = (ended_at is not null)", name="ended"
        ),
        Index(None, "created_at", "id"),
        Index(None, "status"),
    )

    id: Mapped[str] = mapped_column(String(48), primary_key=True)
    endpoint: Mapped[str] = mapped_column(String(64))
    input_file_id: Mapped[str] = mapped_column(String(48), index=True)
    """No foreign key: the file may be deleted once the batch is done."""
    completion_window: Mapped[str] = mapped_column(String(16))
    labels: Mapped[dict[str, str] | None] = mapped_column(JsonOrNull)
    """The client's own `metadata`."""
    seed: Mapped[int] = mapped_column(BigInteger)
    """A line without a seed of its own is drawn with this one + its number."""
    status: Mapped[str] = mapped_column(String(16))
    total: Mapped[int] = mapped_column(default=0)
    completed: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    faults: Mapped[list[dict[str, Any]] | None] = mapped_column(JsonOrNull)
    """Why nothing of it could be begun."""
    output_file_id: Mapped[str | None] = mapped_column(String(48))
    error_file_id: Mapped[str | None] = mapped_column(String(48))
    created_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    in_progress_at: Mapped[datetime | None] = mapped_column(Instant)
    finalizing_at: Mapped[datetime | None] = mapped_column(Instant)
    cancelling_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("api_key.id"), index=True)
    """The key that it belongs to, with its files; NULL where none was asked for."""


class BatchLine(Table):
    """The answer to one line of a batch that is not finished; then it moves into the file."""

    __tablename__ = "batch_line"

    batch_id: Mapped[str] = mapped_column(ForeignKey("batch.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """Its line in the input file, from 1."""
    failed: Mapped[bool]
    answer: Mapped[str] = mapped_column(Text)
    """The line of the output or the error file, as it will be written."""


class Replica(Table):
    """A process that works at batches, with a count that it raises as long as it lives.

    Others judge by their own clocks how long the count has stood still: no two clocks are ever compared.
    """

    __tablename__ = "replica"

    id: Mapped[str] = mapped_column(String(48), primary_key=True)
    beats: Mapped[int] = mapped_column(BigInteger)
    """-1: it has left in order."""
    seen_at: Mapped[datetime] = mapped_column(Instant)
    """For people to read."""
