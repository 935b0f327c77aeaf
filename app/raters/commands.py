"""What `rejoinder rater` does."""

from typing import Any

from app.commands import opened, read_settings
from app.raters import service
from chatbot.errors import RejoinderError


def erase(public_id: str, **where: Any) -> str:
    """Forget a rater. Returns what to say; raises RejoinderError for an unknown one."""
    with opened(read_settings(**where)) as database:
        with database.writing() as session:
            erased = service.erase(session, public_id)
        if not database.scrub():
            raise RejoinderError(
                f"{public_id}: erased, but the database's log holds traces while it is being read; run this again"
            )
    return f"{public_id}: identity and comments are gone, {erased.judgements_kept} judgements stay"
