"""Carrying out a request once, however often it is sent. Knows keys and answers, not what is done."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final, TypeVar

from pydantic import BaseModel
from sqlalchemy.orm import Session

from app.chat.repository import sha256_of
from app.database import now
from app.errors import BadRequestError, ConflictError
from app.ratings import repository

KEYS_ARE_KEPT: Final = timedelta(days=1)

M = TypeVar("M", bound=BaseModel)


def once(session: Session, route: str, key: str | None, body: BaseModel, answer: type[M], work: Callable[[], M]) -> M:
    """Return what `work` returns; repeated with its `key`, the request is answered as before and does nothing.

    The key is stored with the work or not at all, so a failed request does not use it up.
    Raises BadRequestError for an impossible key, ConflictError when it was used for another request.
    """
    if key is None:
        return work()
    if not 1 <= len(key) <= 255:
        raise BadRequestError("Idempotency-Key: must have 1 to 255 characters", param="Idempotency-Key")
    repository.forget_keys(session, now() - KEYS_ARE_KEPT)
    digest = sha256_of(body.model_dump())
    free = repository.claim_key(session, route, key, digest, now())
    record = repository.get_key(session, route, key)
    if free:
        done = work()
        record.answer = done.model_dump()
        return done
    if record.request_sha256 != digest:
        raise ConflictError(
            "this Idempotency-Key was used for another request", param="Idempotency-Key", code="idempotency_key_reused"
        )
    return answer.model_validate(record.answer)
