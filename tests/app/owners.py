"""Keys of a service under test, made behind its back as `rejoinder keys` makes them."""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.database import Database, now
from app.keys import service as keys
from app.keys.schemas import KeyRequest, NewKey
from app.keys.tables import ApiKey

Service = TestClient | FastAPI
"""One that runs."""

PUBLIC: dict[str, Any] = {"host": "0.0.0.0"}
"""Settings of a service that others can reach; nothing listens in these tests."""


def new_key(service: Service, *scopes: str, hours: int | None = None) -> NewKey:
    """Make a key."""
    with _database(service).writing() as session:
        return keys.create(session, KeyRequest.model_validate({"scopes": list(scopes), "expires_in_hours": hours}))


def key_headers(service: Service, *scopes: str) -> dict[str, str]:
    """Make a key, and return what its holder sends."""
    return bearer(new_key(service, *scopes).secret)


def revoked_key(service: Service, *scopes: str) -> str:
    """Return the secret of a key that was revoked."""
    key = new_key(service, *scopes)
    with _database(service).writing() as session:
        keys.revoke(session, key.id)
    return key.secret


def expired_key(service: Service, *scopes: str) -> str:
    """Return the secret of a key whose time is over."""
    key = new_key(service, *scopes, hours=1)
    with _database(service).writing() as session:
        session.execute(sa.update(ApiKey).filter_by(id=key.id).values(expires_at=now() - timedelta(seconds=1)))
    return key.secret


def bearer(secret: str) -> dict[str, str]:
    """Return the header that shows a key."""
    return {"Authorization": f"Bearer {secret}"}


def _database(service: Service) -> Database:
    app: Any = service.app if isinstance(service, TestClient) else service
    database: Database = app.state.database
    return database
