"""The SQL of what was asked and answered."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from app.chat.tables import Context, Response, System
from app.database import insert_all_if_absent, insert_if_absent, now


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
    # Sorted: two calls that store the same contexts in different orders would wait for each other without end.
    content = dict(sorted(zip(digests, histories, strict=True), key=lambda pair: pair[0]))
    ids = _context_ids(session, list(content))
    missing = [digest for digest in content if digest not in ids]
    if missing:
        created_at = now()
        rows = [{"sha256": digest, "messages": content[digest], "created_at": created_at} for digest in missing]
        insert_all_if_absent(session, Context, rows)
        ids |= _context_ids(session, missing)
    return [ids[digest] for digest in digests]


def _context_ids(session: Session, digests: Sequence[str]) -> dict[str, int]:
    found = session.execute(select(Context.sha256, Context.id).where(Context.sha256.in_(digests)))
    return {row.sha256: row.id for row in found}


def add_responses(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store responses; each row names every column."""
    if rows:  # without any, the statement would insert one row of defaults
        session.execute(insert(Response), list(rows))
