"""The SQL of live conversations."""

from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.chat.tables import Response, System
from app.database import now
from app.pages.tables import Conversation, Turn


class SaidTurn(NamedTuple):
    """One turn as the page needs it."""

    role: str
    text: str
    response_id: str | None
    model: str | None


def exists(session: Session, conversation: str) -> bool:
    """Say whether the conversation is stored."""
    return session.get(Conversation, conversation) is not None


def turns(session: Session, conversation: str) -> list[SaidTurn]:
    """Return the turns of a conversation, oldest first."""
    statement = (
        select(Turn.role, Turn.text, Turn.response_id, System.name)
        .outerjoin(Response, Response.id == Turn.response_id)
        .outerjoin(System, System.id == Response.system_id)
        .where(Turn.conversation_id == conversation)
        .order_by(Turn.position)
    )
    return [SaidTurn(*row) for row in session.execute(statement)]


def open_conversation(session: Session, conversation: str) -> None:
    """Store a new conversation."""
    session.add(Conversation(id=conversation, created_at=now()))
    session.flush()


def add_exchange(session: Session, conversation: str, position: int, message: str, reply: str, reply_id: str) -> None:
    """Store a message and its reply at `position` and the one after. Raises IntegrityError when it is taken."""
    created_at = now()
    for offset, (role, text, response_id) in enumerate([("user", message, None), ("assistant", reply, reply_id)]):
        session.add(
            Turn(
                conversation_id=conversation,
                position=position + offset,
                role=role,
                text=text,
                response_id=response_id,
                created_at=created_at,
            )
        )
    session.flush()
