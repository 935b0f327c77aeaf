"""Rating a served reply: the newest judgement counts, the older ones stay."""

from datetime import timedelta
from typing import Final

from sqlalchemy.orm import Session

from app.chat.repository import sha256_of
from app.database import now
from app.errors import BadRequestError, ConflictError, NotFoundError
from app.ratings import repository
from app.ratings.schemas import RatingEntry, RatingList, RatingRequest
from app.ratings.tables import Judgement

ROUTE: Final = "POST /v1/ratings"
KEYS_ARE_KEPT: Final = timedelta(days=1)


def rate(session: Session, body: RatingRequest, idempotency_key: str | None = None) -> RatingEntry:
    """Store a thumb; a request repeated with its key is answered as before and stored once.

    Raises NotFoundError for an unknown reply, ConflictError when the key was used for another request.
    """
    if idempotency_key is None:
        return _rate(session, body)
    if not 1 <= len(idempotency_key) <= 255:
        raise BadRequestError("Idempotency-Key: must have 1 to 255 characters", param="Idempotency-Key")
    repository.forget_keys(session, now() - KEYS_ARE_KEPT)
    digest = sha256_of(body.model_dump())
    free = repository.claim_key(session, ROUTE, idempotency_key, digest, now())
    record = repository.get_key(session, ROUTE, idempotency_key)
    if free:
        entry = _rate(session, body)
        record.answer = entry.model_dump()
        return entry
    if record.request_sha256 != digest:
        raise ConflictError(
            "this Idempotency-Key was used for another request", param="Idempotency-Key", code="idempotency_key_reused"
        )
    return RatingEntry.model_validate(record.answer)


def list_ratings(session: Session, *, limit: int, after: int, model: str | None, reply_id: str | None) -> RatingList:
    """Return a page of ratings, superseded ones included."""
    found = repository.page(session, limit=limit + 1, after=after, model=model, reply_id=reply_id)
    data = [_entry(rated) for rated in found[:limit]]
    return RatingList(data=data, last_id=data[-1].id if data else None, has_more=len(found) > limit)


def _rate(session: Session, body: RatingRequest) -> RatingEntry:
    if not repository.lock_response(session, body.reply_id):
        raise NotFoundError(f"no reply has the id {body.reply_id!r}", param="reply_id", code="reply_not_found")
    judgement = Judgement(
        response_id=body.reply_id,
        kind="thumb",
        value=body.thumb,
        comment=body.comment,
        supersedes=repository.live_judgement(session, body.reply_id, "", None),
        created_at=now(),
    )
    repository.add(session, judgement)
    return _entry(repository.get(session, judgement.id))


def _entry(rated: repository.Rated) -> RatingEntry:
    judgement = rated.judgement
    assert judgement.response_id is not None  # the query's join says so
    assert judgement.value is not None  # by CHECK
    return RatingEntry(
        id=judgement.id,
        created=int(judgement.created_at.timestamp()),
        reply_id=judgement.response_id,
        model=rated.model,
        thumb=judgement.value,
        comment=judgement.comment,
        supersedes=judgement.supersedes,
        superseded_by=rated.superseded_by,
    )
