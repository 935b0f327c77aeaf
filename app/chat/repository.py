"""The SQL of what was asked and answered."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from app.chat.tables import Context, Response, System
from app.database import Table, insert_all_if_absent, now

_Key = TypeVar("_Key", str, tuple[str, str, str])


def sha256_of(value: object) -> str:
    """Return the digest of `value` as JSON, the same for equal values."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def checkpoints(session: Session, systems: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[int]:
    """Return the ids of the systems that weights are with a decoding, given as (name, digest of weights, decoding).

    Those not seen before are stored.
    """
    return _systems(session, "checkpoint", systems)


def system_without_weights(session: Session, kind: str, name: str) -> int:
    """Return the id of the human or baseline called `name`, storing it at first sight."""
    return _systems(session, kind, [(name, "", {})])[0]


def _systems(session: Session, kind: str, systems: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[int]:
    keys = [(name, weights_sha256, sha256_of(decoding)) for name, weights_sha256, decoding in systems]
    decodings = {key: dict(system[2]) for key, system in zip(keys, systems, strict=True)}

    def row(key: tuple[str, str, str]) -> dict[str, Any]:
        unique = zip(("name", "weights_sha256", "decoding_sha256"), key, strict=True)
        return {**dict(unique), "kind": kind, "decoding": decodings[key], "created_at": now()}

    return _ids_of(session, System, keys, _system_ids, row)


def contexts(session: Session, histories: Sequence[list[dict[str, str]]]) -> list[int]:
    """Return the ids of `histories`, storing those not seen before."""
    digests = [sha256_of(messages) for messages in histories]
    content = dict(zip(digests, histories, strict=True))

    def row(digest: str) -> dict[str, Any]:
        return {"sha256": digest, "messages": content[digest], "created_at": now()}

    return _ids_of(session, Context, digests, _context_ids, row)


def _ids_of(
    session: Session,
    table: type[Table],
    keys: Sequence[_Key],
    find: Callable[[Session, Sequence[_Key]], dict[_Key, int]],
    row: Callable[[_Key], dict[str, Any]],
) -> list[int]:
    """Return the ids of the rows with these unique keys, of which those that are not there yet are stored."""
    # Sorted: two calls that store the same rows in different orders would wait for each other without end.
    unique = sorted(set(keys))
    ids = find(session, unique)
    missing = [key for key in unique if key not in ids]
    if missing:
        insert_all_if_absent(session, table, [row(key) for key in missing])
        ids |= find(session, missing)
    return [ids[key] for key in keys]


def _system_ids(session: Session, keys: Sequence[tuple[str, str, str]]) -> dict[tuple[str, str, str], int]:
    columns = System.name, System.weights_sha256, System.decoding_sha256
    # Some more than these, where names and decodings are mixed: every column of the index, one by one.
    each = (column.in_(set(values)) for column, values in zip(columns, zip(*keys, strict=True), strict=True))
    found = session.execute(select(*columns, System.id).where(*each))
    return {(name, weights, decoding): number for name, weights, decoding, number in found}


def _context_ids(session: Session, digests: Sequence[str]) -> dict[str, int]:
    found = session.execute(select(Context.sha256, Context.id).where(Context.sha256.in_(digests)))
    return {row.sha256: row.id for row in found}


def add_responses(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store responses; each row names every column."""
    if rows:  # without any, the statement would insert one row of defaults
        session.execute(insert(Response), list(rows))
