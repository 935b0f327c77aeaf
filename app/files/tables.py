"""What is known of the files; their content lies on the disk, under their id."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Instant, Table


class StoredFile(Table):
    """A file, whole."""

    __tablename__ = "stored_file"
    __table_args__ = (
        CheckConstraint("purpose in ('batch', 'batch_output')", name="purpose"),
        CheckConstraint("bytes >= 0", name="bytes"),
        Index(None, "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(48), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(16))
    filename: Mapped[str] = mapped_column(String(255))
    """As its sender calls it; never used as a path."""
    bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(Instant)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("api_key.id"), index=True)
    """The key that it belongs to; NULL where none was asked for."""
