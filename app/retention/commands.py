"""What `rejoinder retain` does."""

from datetime import timedelta
from typing import Any

from app.audit.repository import OWNER, record
from app.commands import opened, read_settings
from app.database import now
from app.files.storage import Storage
from app.retention import repository
from chatbot.errors import RejoinderError


def retain(days: float, **where: Any) -> str:
    """Delete conversations and unjudged texts that are older than `days`; judgements stay. Returns what to say."""
    if not 0 <= days <= 36_500:
        raise RejoinderError(f"--days {days:g}: expected 0 to 36500")
    before = now() - timedelta(days=days)
    settings = read_settings(**where)
    storage = Storage(settings.state / "files")
    with opened(settings) as database:
        with database.writing() as session:
            conversations = repository.delete_conversations(session, before)
            replies = repository.delete_unjudged_responses(session, before)
            contexts = repository.delete_unused_contexts(session, before)
            repository.delete_idempotency_records(session, before)
            files = repository.delete_files(session, before)
            counts = {"conversations": conversations, "replies": replies, "contexts": contexts, "files": len(files)}
            record(session, OWNER, "retain", "texts", **counts)
        for file_id in files:
            storage.remove(file_id)
        gone = database.scrub()
    said = f"deleted {conversations} conversations, {replies} replies that nobody judged, {contexts} contexts"
    said += f", {len(files)} files"
    return said if gone else f"{said}; traces stay in the database's log while it is being read: run this again"
