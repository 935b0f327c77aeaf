"""The SQL of live conversations."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from app.chat.tables import Context, Response, System
from app.database import now
from app.pages.chat.tables import Conversation, Turn
from app.ratings.tables import Judgement
from app.studies.tables import Item


class SaidTurn(NamedTuple):
    """One turn as the page needs it."""

    role: str
    text: str
    response_id: str | None
    model: str | None
    score: float | None


class Listed(NamedTuple):
    """A conversation in the side bar."""

    id: str
    opening: str
    at: datetime


def find(session: Session, conversation: str) -> Conversation | None:
    """Return the conversation, if it is stored."""
    return session.get(Conversation, conversation)


def turns(session: Session, conversation: str) -> list[SaidTurn]:
    """Return the turns of a conversation that stand, oldest first."""
    statement = (
        select(Turn.role, Turn.text, Turn.response_id, System.name, Response.score)
        .outerjoin(Response, Response.id == Turn.response_id)
        .outerjoin(System, System.id == Response.system_id)
        .where(Turn.conversation_id == conversation, Turn.replaced_at.is_(None))
        .order_by(Turn.position)
    )
    return [SaidTurn(*row) for row in session.execute(statement)]


def position_of(session: Session, conversation: str, response_id: str) -> int | None:
    """Return where in the conversation a reply stands or stood; None where it never did."""
    return session.scalar(
        select(Turn.position).where(Turn.conversation_id == conversation, Turn.response_id == response_id)
    )


def of_visitor(session: Session, visitor_sha256: str, limit: int) -> list[Listed]:
    """Return a visitor's conversations, the last one talked in first, each with its opening words."""
    latest = func.max(Turn.created_at)
    statement = (
        select(Conversation.id, latest)
        .join(Turn, Turn.conversation_id == Conversation.id)
        .where(Conversation.visitor_sha256 == visitor_sha256)
        .group_by(Conversation.id)
        .order_by(latest.desc())
        .limit(limit)
    )
    found = [(conversation, at) for conversation, at in session.execute(statement)]
    openings = select(Turn.conversation_id, Turn.text).where(
        Turn.conversation_id.in_([conversation for conversation, _ in found]),
        Turn.position == 0,
        Turn.replaced_at.is_(None),
    )
    texts = {row.conversation_id: row.text for row in session.execute(openings)}
    return [Listed(conversation, texts.get(conversation, ""), at) for conversation, at in found]


def open_conversation(session: Session, conversation: str, visitor_sha256: str | None) -> Conversation:
    """Store a new conversation. Raises IntegrityError when there is one of that id."""
    opened = Conversation(id=conversation, visitor_sha256=visitor_sha256, shared=True, created_at=now())
    session.add(opened)
    session.flush()
    return opened


def delete_conversation(session: Session, conversation: str) -> None:
    """Delete a conversation with all that was said in it, but replies that were judged: they stay with their contexts,
    without which a judgement says nothing.
    """
    said = session.execute(
        select(Response.id, Response.context_id)
        .join(Turn, Turn.response_id == Response.id)
        .where(Turn.conversation_id == conversation)
    ).all()
    session.execute(delete(Conversation).where(Conversation.id == conversation))
    session.execute(
        delete(Response).where(
            Response.id.in_([row.id for row in said]),
            ~exists().where(Judgement.response_id == Response.id),
            ~exists().where(or_(Item.response_a_id == Response.id, Item.response_b_id == Response.id)),
            ~exists().where(Turn.response_id == Response.id),
        )
    )
    session.execute(
        delete(Context).where(
            Context.id.in_([row.context_id for row in said]),
            ~exists().where(Response.context_id == Context.id),
            ~exists().where(Item.context_id == Context.id),
        )
    )


def replace_from(session: Session, conversation: str, position: int) -> None:
    """Let the turns from a position on stand no longer."""
    session.execute(
        update(Turn)
        .where(Turn.conversation_id == conversation, Turn.position >= position, Turn.replaced_at.is_(None))
        .values(replaced_at=now())
    )


def add_turns(session: Session, conversation: str, position: int, said: Sequence[tuple[str, str, str | None]]) -> None:
    """Store turns (role, text, reply id) from `position` on. Raises IntegrityError when a place is taken."""
    created_at = now()
    session.add_all(
        Turn(
            conversation_id=conversation,
            position=position + offset,
            role=role,
            text=text,
            response_id=response_id,
            created_at=created_at,
        )
        for offset, (role, text, response_id) in enumerate(said)
    )
    session.flush()
