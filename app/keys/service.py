"""Making, listing and revoking keys, and signing a browser in with one."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from app.audit.repository import OWNER, record
from app.database import now
from app.errors import NotFoundError, UnauthorizedError
from app.keys import repository
from app.keys.schemas import SCOPES, KeyEntry, KeyRequest, NewKey
from app.keys.tables import ApiKey, SignIn

_MARK: Final = "rj-"
_SHOWN: Final = len(_MARK) + 6
SIGNED_IN: Final = timedelta(days=30)
"""How long a browser stays signed in; not beyond its key."""


def create(session: Session, body: KeyRequest) -> NewKey:
    """Make a key."""
    secret = _MARK + secrets.token_urlsafe(32)
    created_at = now()
    hours = body.expires_in_hours
    key = ApiKey(
        name=body.name,
        prefix=secret[:_SHOWN],
        secret_sha256=sha256(secret),
        scopes=[scope for scope in SCOPES if scope in body.scopes],
        created_at=created_at,
        expires_at=None if hours is None else created_at + timedelta(hours=hours),
    )
    repository.add(session, key)
    record(session, OWNER, "create_key", f"key/{key.id}", scopes=",".join(key.scopes))
    return NewKey(**_entry(key).model_dump(), secret=secret)


def list_keys(session: Session) -> list[KeyEntry]:
    """Return all keys, the revoked and expired ones included."""
    return [_entry(key) for key in repository.all_keys(session)]


def revoke(session: Session, key_id: int) -> KeyEntry:
    """Let a key, and the browsers that signed in with it, do nothing any more. Raises NotFoundError."""
    key = repository.get(session, key_id)
    if key is None:
        raise NotFoundError(f"there is no key {key_id}", code="key_not_found")
    if key.revoked_at is None:
        key.revoked_at = now()
        repository.end_sign_ins(session, key_id)
        record(session, OWNER, "revoke_key", f"key/{key_id}")
    return _entry(key)


def sign_in(session: Session, secret: str) -> str:
    """Return the cookie of a browser that shows a key. Raises UnauthorizedError for one that does not work."""
    at = now()
    key = repository.by_secret(session, sha256(secret))
    check(key, at)
    assert key is not None  # `check` has refused it
    repository.forget_sign_ins(session, at)
    token = secrets.token_urlsafe(32)
    ends = at + SIGNED_IN if key.expires_at is None else min(at + SIGNED_IN, key.expires_at)
    repository.add(session, SignIn(token_sha256=sha256(token), key_id=key.id, created_at=at, expires_at=ends))
    return token


def sign_out(session: Session, token: str) -> None:
    """Forget a browser."""
    repository.end_sign_in(session, sha256(token))


def check(key: ApiKey | None, at: datetime) -> None:
    """Raise UnauthorizedError unless `key` works at the moment `at`."""
    if key is None:
        fault = "this API key is not known"
    elif key.revoked_at is not None:
        fault = "this API key was revoked"
    elif key.expires_at is not None and key.expires_at <= at:
        fault = "this API key has expired"
    else:
        return
    raise UnauthorizedError(fault, code="invalid_api_key")


def sha256(secret: str) -> str:
    """Return what is stored of a secret, and what it is looked up by.

    A search by the hash tells nothing by its time: whoever tries secrets cannot choose how their hashes begin.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _entry(key: ApiKey) -> KeyEntry:
    def seconds(moment: datetime | None) -> int | None:
        return None if moment is None else int(moment.timestamp())

    return KeyEntry(
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        scopes=key.scopes,
        created=int(key.created_at.timestamp()),
        expires=seconds(key.expires_at),
        revoked=seconds(key.revoked_at),
        last_used=seconds(key.last_used_at),
    )
