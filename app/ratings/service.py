"""Rating a served reply: the newest judgement counts, the older ones stay."""

from typing import Final

from sqlalchemy.orm import Session

from app.database import now
from app.errors import BadRequestError, NotFoundError
from app.idempotency import once
from app.ratings import repository
from app.ratings.schemas import RatingEntry, RatingList, RatingRequest
from app.ratings.tables import Judgement

ROUTE: Final = "POST /v1/ratings"


def rate(session: Session, body: RatingRequest, idempotency_key: str | None = None) -> RatingEntry:
    """Store a thumb or a value on a scale; a request repeated with its key is answered as before and stored once.

    Raises BadRequestError unless the request is one of the two, NotFoundError for an unknown reply, ConflictError when
    the key was used for another request.
    """
    return once(session, ROUTE, idempotency_key, body, RatingEntry, lambda: _rate(session, body))


def list_ratings(session: Session, *, limit: int, after: int, model: str | None, reply_id: str | None) -> RatingList:
    """Return a page of ratings, superseded ones included."""
    found = repository.page(session, limit=limit + 1, after=after, model=model, reply_id=reply_id)
    data = [_entry(rated) for rated in found[:limit]]
    return RatingList(data=data, last_id=data[-1].id if data else None, has_more=len(found) > limit)


def _rate(session: Session, body: RatingRequest) -> RatingEntry:
    _check(body)
    if not repository.lock_response(session, body.reply_id):
        raise NotFoundError(f"no reply has the id {body.reply_id!r}", param="reply_id", code="reply_not_found")
    dimension = body.dimension or ""
    judgement = Judgement(
        response_id=body.reply_id,
        kind="scale" if dimension else "thumb",
        dimension=dimension,
        value=body.value if dimension else body.thumb,
        reasons=body.reasons or None,
        comment=body.comment,
        supersedes=repository.live_judgement(session, body.reply_id, dimension, None),
        created_at=now(),
    )
    repository.add(session, judgement)
    return _entry(repository.get(session, judgement.id))


def _check(body: RatingRequest) -> None:
    """Raise BadRequestError unless `body` is a thumb, perhaps with reasons, or a value on a dimension."""
    if body.thumb is None and body.dimension is None:
        raise BadRequestError("thumb: is required, unless `dimension` and `value` are given", param="thumb")
    if body.thumb is not None and body.dimension is not None:
        raise BadRequestError("dimension: one rating is a thumb or a value on a dimension, not both", param="dimension")
    if (body.dimension is None) != (body.value is None):
        raise BadRequestError("value: goes together with `dimension`", param="value")
    if body.reasons and body.thumb is None:
        raise BadRequestError("reasons: belong to a thumb", param="reasons")


def _entry(rated: repository.Rated) -> RatingEntry:
    judgement = rated.judgement
    assert judgement.response_id is not None  # the query's join says so
    assert judgement.value is not None  # by CHECK
    is_thumb = judgement.kind == "thumb"
    return RatingEntry(
        id=judgement.id,
        created=int(judgement.created_at.timestamp()),
        reply_id=judgement.response_id,
        model=rated.model,
        thumb=judgement.value if is_thumb else None,
        dimension=None if is_thumb else judgement.dimension,
        value=None if is_thumb else judgement.value,
        reasons=judgement.reasons or [],
        comment=judgement.comment,
        supersedes=judgement.supersedes,
        superseded_by=rated.superseded_by,
    )
