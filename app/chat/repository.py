"""The SQL of what was asked and answered."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.chat.tables import Context, Response, System
from app.database import insert_if_absent, now


def sha256_of(value: object) -> str:
    """Return the digest of `value` as JSON, the same for equal values."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def checkpoint(session: Session, name: str, weights_sha256: str, decoding: Mapping[str, Any]) -> int:
    """Return the id of the system that these weights are with this decoding, storing it at first sight."""
    return _system(session, "checkpoint", name, weights_sha256, decoding)


def system_without_weights(session: Session, kind: str, name: str) -> int:
    """Return the id of the human or baseline called `name`, storing it at first sight."""
    return _system(session, kind, name, "", {})


def _system(session: Session, kind: str, name: str, weights_sha256: str, decoding: Mapping[str, Any]) -> int:
    unique = {"name": name, "weights_sha256": weights_sha256, "decoding_sha256": sha256_of(decoding)}
    found = select(System.id).filter_by(**unique)
    known = session.scalar(found)
    if known is not None:
        return known
    insert_if_absent(session, System, kind=kind, decoding=dict(decoding), created_at=now(), **unique)
    return session.execute(found).scalar_one()


def contexts(session: Session, histories: Sequence[list[dict[str, str]]]) -> list[int]:
    """Return the ids of `histories`, storing those not seen before."""
    digests = [sha256_of(messages) for messages in histories]
    ids: dict[str, int] = {}
    # Sorted: two calls that store the same contexts in different orders would wait for each other without end.
    for digest, messages in sorted(zip(digests, histories, strict=True), key=lambda pair: pair[0]):
        if digest not in ids:
            insert_if_absent(session, Context, sha256=digest, messages=messages, created_at=now())
            ids[digest] = session.execute(select(Context.id).filter_by(sha256=digest)).scalar_one()
    return [ids[digest] for digest in digests]


def add_responses(session: Session, responses: Sequence[Response]) -> None:
    """Store `responses`."""
    session.add_all(responses)
    session.flush()
