"""The SQL of the log of actions."""

from typing import Final

from sqlalchemy.orm import Session

from app.audit.tables import AuditEvent
from app.database import now

OWNER: Final = "owner"


def record(session: Session, actor: str, action: str, subject: str, **detail: int | str | None) -> None:
    """Note that `actor` (OWNER, or a rater's public id) did `action` to `subject`; ids and counts, never text."""
    session.add(AuditEvent(at=now(), actor=actor, action=action, object=subject, detail=detail))
