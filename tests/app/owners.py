"""Keys of a service under test, made behind its back as `rejoinder keys` makes them."""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.database import Database, now
from app.keys import service
from app.keys.schemas import KeyRequest, NewKey
from app.keys.tables import ApiKey

PUBLIC: dict[str, Any] = {"host": "0.0.0.0"}
"""Settings of a service that others can reach; nothing listens in these tests."""


def new_key(client: TestClient, *scopes: str, hours: int | None = None) -> NewKey:
    """Make a key."""
    with _database(client).writing() as session:
        return service.create(session, KeyRequest.model_validate({"scopes": list(scopes), "expires_in_hours": hours}))


def key_headers(client: TestClient, *scopes: str) -> dict[str, str]:
    """Make a key, and return what its holder sends."""
    return bearer(new_key(client, *scopes).secret)


def revoked_key(client: TestClient, *scopes: str) -> str:
    """Return the secret of a key that was revoked."""
    key = new_key(client, *scopes)
    with _database(client).writing() as session:
        service.revoke(session, key.id)
    return key.secret


def expired_key(client: TestClient, *scopes: str) -> str:
    """Return the secret of a key whose time is over."""
    key = new_key(client, *scopes, hours=1)
    with _database(client).writing() as session:
        session.execute(sa.update(ApiKey).filter_by(id=key.id).values(expires_at=now() - timedelta(seconds=1)))
    return key.secret


def bearer(secret: str) -> dict[str, str]:
    """Return the header that shows a key."""
    return {"Authorization": f"Bearer {secret}"}


def _database(client: TestClient) -> Database:
    app: FastAPI = client.app  # type: ignore[assignment]
    database: Database = app.state.database
    return database
