"""The SQL of exports: one statement for each, read in a stream, so that no export has to fit into memory."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Exists, exists, func, select
from sqlalchemy.orm import Session, aliased

from app.chat.tables import Context, Response
from app.exports.schemas import Kind
from app.pages.chat.tables import Conversation, Turn
from app.ratings.tables import Judgement
from app.studies.tables import Assignment, Item, Study


class Exported(NamedTuple):
    """A judgement with all that belongs to it; what a thumb or a single reply does not have is None."""

    id: int
    kind: str
    dimension: str
    value: int | None
    choice: str | None
    side: str | None
    blind: bool
    dwell_ms: int | None
    reasons: list[str] | None
    comment: str | None
    supersedes: int | None
    superseded_by: int | None
    rater: int | None
    created_at: datetime
    study: str | None
    item: int | None
    purpose: str | None
    gold: dict[str, Any] | None
    repeats: int | None
    item_status: str | None
    messages: list[dict[str, str]]
    source: str | None
    split: str | None
    reply_id_a: str
    reply_a: str
    system_a: int
    reply_id_b: str | None
    reply_b: str | None
    system_b: int | None


def exported(session: Session, kind: Kind, study_id: int | None, up_to: int) -> Iterator[Exported]:
    """Yield what an export is made of, oldest judgement first; superseded ones for `judgements` alone."""
    a, b, later = aliased(Response), aliased(Response), aliased(Judgement)
    statement = (
        select(
            Judgement.id,
            Judgement.kind,
            Judgement.dimension,
            Judgement.value,
            Judgement.choice,
            Judgement.side,
            Judgement.blind,
            Judgement.dwell_ms,
            Judgement.reasons,
            Judgement.comment,
            Judgement.supersedes,
            later.id,
            Judgement.rater_id,
            Judgement.created_at,
            Study.slug,
            Item.id,
            Item.purpose,
            Item.gold,
            Item.repeats_item_id,
            Item.status,
            Context.messages,
            Context.source,
            Context.split,
            a.id,
            a.text,
            a.system_id,
            b.id,
            b.text,
            b.system_id,
        )
        .select_from(Judgement)
        .outerjoin(Assignment, Assignment.id == Judgement.assignment_id)
        .outerjoin(Item, Item.id == Assignment.item_id)
        .outerjoin(Study, Study.id == Item.study_id)
        .join(a, a.id == func.coalesce(Item.response_a_id, Judgement.response_id))
        .outerjoin(b, b.id == Item.response_b_id)
        .join(Context, Context.id == func.coalesce(Item.context_id, a.context_id))
        .outerjoin(later, (later.supersedes == Judgement.id) & (later.id <= up_to))
        .where(Judgement.id <= up_to, ~_asked_not_to_be_used())
        .order_by(Judgement.id)
    )
    if study_id is not None:
        statement = statement.where(Item.study_id == study_id)
    if kind != "judgements":
        statement = statement.where(later.id.is_(None))
    if kind == "battles":
        statement = statement.where(Judgement.kind == "pair")
    if kind == "preference":
        statement = statement.where(
            Judgement.kind == "pair",
            Judgement.choice.in_(("a", "b")),
            # Gold shows made-up replies, and a repeat is the same verdict once more.
            Item.purpose.in_(("normal", "aa")),
            Item.status != "withdrawn",
        )
    if kind == "thumbs":
        statement = statement.where(Judgement.kind == "thumb")
    for row in session.execute(statement.execution_options(yield_per=500)):
        yield Exported._make(row)


def _asked_not_to_be_used() -> Exists:
    """Say whether a judgement is of a reply in a conversation whose visitor asked for it not to be used."""
    return exists().where(
        Turn.response_id == Judgement.response_id,
        Conversation.id == Turn.conversation_id,
        Conversation.shared.is_(False),
    )
