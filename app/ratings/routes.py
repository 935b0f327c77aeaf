"""`/v1/ratings`. Plain functions: FastAPI runs them in its thread pool, so the database never holds up the loop."""

from typing import Annotated

from fastapi import APIRouter, Header, Query

from app.database import Reading, Writing
from app.ratings import service
from app.ratings.schemas import RatingEntry, RatingList, RatingRequest
from app.wire import Text

router = APIRouter(prefix="/v1/ratings", tags=["ratings"])

LARGEST_ID = 2**63 - 1


@router.post("", status_code=201)
def create_rating(
    body: RatingRequest, session: Writing, idempotency_key: Annotated[str | None, Header()] = None
) -> RatingEntry:
    """Judge a served reply; a later judgement supersedes it."""
    return service.rate(session, body, idempotency_key)


@router.get("")
def list_ratings(
    session: Reading,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[int, Query(ge=0, le=LARGEST_ID)] = 0,
    model: Annotated[Text | None, Query()] = None,
    reply_id: Annotated[Text | None, Query()] = None,
) -> RatingList:
    """List ratings, oldest first."""
    return service.list_ratings(session, limit=limit, after=after, model=model, reply_id=reply_id)
