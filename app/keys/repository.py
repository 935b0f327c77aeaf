"""The SQL of keys."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import delete, exists, select, update
from sqlalchemy.orm import Session

from app.keys.tables import ApiKey, SignIn


def add(session: Session, row: ApiKey | SignIn) -> None:
    """Store `row` and give it its id."""
    session.add(row)
    session.flush()


def all_keys(session: Session) -> Sequence[ApiKey]:
    """Return all keys, oldest first."""
    return session.scalars(select(ApiKey).order_by(ApiKey.id)).all()


def any_usable(session: Session, at: datetime) -> bool:
    """Say whether there is a key that works at the moment `at`."""
    usable = exists().where(ApiKey.revoked_at.is_(None), ApiKey.expires_at.is_(None) | (ApiKey.expires_at > at))
    return bool(session.scalar(select(usable)))


def get(session: Session, key_id: int) -> ApiKey | None:
    """Return a key."""
    return session.get(ApiKey, key_id)


def by_secret(session: Session, secret_sha256: str) -> ApiKey | None:
    """Return the key with this secret."""
    return session.scalar(select(ApiKey).filter_by(secret_sha256=secret_sha256))


def by_sign_in(session: Session, token_sha256: str, at: datetime) -> ApiKey | None:
    """Return the key that a browser signed in with, unless that has run out by the moment `at`."""
    return session.scalar(
        select(ApiKey)
        .join(SignIn, SignIn.key_id == ApiKey.id)
        .where(SignIn.token_sha256 == token_sha256, SignIn.expires_at > at)
    )


def end_sign_in(session: Session, token_sha256: str) -> None:
    """Forget a browser."""
    session.execute(delete(SignIn).where(SignIn.token_sha256 == token_sha256))


def end_sign_ins(session: Session, key_id: int) -> None:
    """Forget all browsers that signed in with a key."""
    session.execute(delete(SignIn).where(SignIn.key_id == key_id))


def forget_sign_ins(session: Session, before: datetime) -> None:
    """Forget the browsers whose time had run out at a moment."""
    session.execute(delete(SignIn).where(SignIn.expires_at <= before))


def note_use(session: Session, key_ids: Collection[int], hour: datetime) -> None:
    """Note that keys were used in an hour."""
    session.execute(update(ApiKey).where(ApiKey.id.in_(key_ids)).values(last_used_at=hour))
