"""The SQL of judgements and of requests carried out once."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session, aliased

from app.chat.tables import Response, System
from app.database import insert_if_absent
from app.ratings.tables import IdempotencyRecord, Judgement


class Rated(NamedTuple):
    """A judgement, the model it is about, and what superseded it."""

    judgement: Judgement
    model: str
    superseded_by: int | None


class Thumb(NamedTuple):
    """A thumb, 1 or -1, with the reasons given for it."""

    value: int
    reasons: list[str]
    comment: str


def lock_response(session: Session, response_id: str) -> bool:
    """Say whether the reply exists, and keep others from judging it until this transaction ends."""
    found = session.scalar(select(Response.id).where(Response.id == response_id).with_for_update(key_share=True))
    return found is not None


def live_judgement(session: Session, response_id: str, dimension: str, rater_id: int | None) -> int | None:
    """Return the id of a rater's judgement of the reply on `dimension` ("" for a thumb) that no other supersedes."""
    later = aliased(Judgement)
    return session.scalar(
        select(Judgement.id)
        .outerjoin(later, later.supersedes == Judgement.id)
        .where(
            Judgement.response_id == response_id,
            Judgement.dimension == dimension,
            Judgement.rater_id.is_(None) if rater_id is None else Judgement.rater_id == rater_id,
            later.id.is_(None),
        )
    )


def live_thumbs(session: Session, response_ids: Sequence[str]) -> dict[str, Thumb]:
    """Return the anonymous thumb that counts for each of the replies that has one."""
    later = aliased(Judgement)
    rows = session.execute(
        select(Judgement.response_id, Judgement.value, Judgement.reasons, Judgement.comment)
        .outerjoin(later, later.supersedes == Judgement.id)
        .where(
            Judgement.response_id.in_(response_ids),
            Judgement.kind == "thumb",
            Judgement.rater_id.is_(None),
            later.id.is_(None),
        )
    )
    return {
        response_id: Thumb(value, reasons or [], comment or "")
        for response_id, value, reasons, comment in rows
        if response_id is not None and value is not None
    }


def live_scales(session: Session, response_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return the anonymous values by dimension that count for each of the replies that has any."""
    later = aliased(Judgement)
    rows = session.execute(
        select(Judgement.response_id, Judgement.dimension, Judgement.value)
        .outerjoin(later, later.supersedes == Judgement.id)
        .where(
            Judgement.response_id.in_(response_ids),
            Judgement.kind == "scale",
            Judgement.rater_id.is_(None),
            later.id.is_(None),
        )
    )
    found: dict[str, dict[str, int]] = {}
    for response_id, dimension, value in rows:
        if response_id is not None and value is not None:
            found.setdefault(response_id, {})[dimension] = value
    return found


def add(session: Session, judgement: Judgement) -> None:
    """Store `judgement` and give it its id."""
    session.add(judgement)
    session.flush()


def get(session: Session, judgement_id: int) -> Rated:
    """Return one judgement."""
    return Rated._make(session.execute(_rated().where(Judgement.id == judgement_id)).one())


def page(session: Session, *, limit: int, after: int, model: str | None, reply_id: str | None) -> list[Rated]:
    """Return up to `limit` judgements whose ids are above `after`, oldest first."""
    statement = _rated().where(Judgement.id > after).order_by(Judgement.id).limit(limit)
    if model is not None:
        statement = statement.where(System.name == model)
    if reply_id is not None:
        statement = statement.where(Judgement.response_id == reply_id)
    return [Rated._make(row) for row in session.execute(statement)]


def claim_key(session: Session, route: str, key: str, request_sha256: str, created_at: datetime) -> bool:
    """Reserve an idempotency key, and say whether it was free; waits for whoever uses it just now."""
    return insert_if_absent(
        session, IdempotencyRecord, route=route, key=key, request_sha256=request_sha256, created_at=created_at
    )


def get_key(session: Session, route: str, key: str) -> IdempotencyRecord:
    """Return what is stored under an idempotency key."""
    return session.get_one(IdempotencyRecord, (route, key))


def forget_keys(session: Session, before: datetime) -> None:
    """Delete the idempotency keys used before a moment."""
    session.execute(delete(IdempotencyRecord).where(IdempotencyRecord.created_at < before))


def _rated() -> Select[Judgement, str, int]:
    later = aliased(Judgement)
    return (
        select(Judgement, System.name, later.id)
        .join(Response, Response.id == Judgement.response_id)
        .join(System, System.id == Response.system_id)
        .outerjoin(later, later.supersedes == Judgement.id)
    )
