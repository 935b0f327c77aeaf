"""The SQL of forgetting. A judged reply stays with its context: without them a judgement says nothing."""

from datetime import datetime

from sqlalchemy import CursorResult, Delete, delete, exists, func, select
from sqlalchemy.orm import Session

from app.chat.tables import Context, Response
from app.files import repository as files
from app.pages.chat.tables import Conversation, Turn
from app.ratings.tables import IdempotencyRecord, Judgement
from app.studies.tables import Item


def delete_conversations(session: Session, before: datetime) -> int:
    """Delete the conversations in which nothing was said since; their turns go with them."""
    latest = (
        select(func.coalesce(func.max(Turn.created_at), Conversation.created_at))
        .where(Turn.conversation_id == Conversation.id)
        .correlate(Conversation)
        .scalar_subquery()
    )
    return _count(session, delete(Conversation).where(latest < before))


def delete_unjudged_responses(session: Session, before: datetime) -> int:
    """Delete the older replies that were neither judged nor put into a study nor belong to a conversation."""
    return _count(
        session,
        delete(Response).where(
            Response.created_at < before,
            ~exists().where(Judgement.response_id == Response.id),
            ~exists().where(Item.response_a_id == Response.id),
            ~exists().where(Item.response_b_id == Response.id),
            ~exists().where(Turn.response_id == Response.id),
        ),
    )


def delete_unused_contexts(session: Session, before: datetime) -> int:
    """Delete the older contexts that no reply and no item has any more."""
    return _count(
        session,
        delete(Context).where(
            Context.created_at < before,
            ~exists().where(Response.context_id == Context.id),
            ~exists().where(Item.context_id == Context.id),
        ),
    )


def delete_files(session: Session, before: datetime) -> list[str]:
    """Delete what is known of the older files that no unfinished batch reads, and return their ids."""
    old = files.older_than(session, before)
    for file in old:
        session.delete(file)
    return [file.id for file in old]


def delete_idempotency_records(session: Session, before: datetime) -> None:
    """Delete the answers kept for repeated requests: they quote comments."""
    session.execute(delete(IdempotencyRecord).where(IdempotencyRecord.created_at < before))


def _count(session: Session, statement: Delete) -> int:
    result = session.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)  # what a DELETE gives
    return result.rowcount
