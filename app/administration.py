"""Who may change what the service serves: the holder of the key, or anybody where only this machine can reach it."""

import hmac

from fastapi import Request

from app.errors import ForbiddenError, UnauthorizedError
from app.settings import Settings

_OWN = ("127.0.0.1", "::1", "localhost")


async def admin_only(request: Request) -> None:
    """Let an administrator pass. Raises UnauthorizedError for another key, ForbiddenError where none is set."""
    settings: Settings = request.app.state.settings
    if settings.admin_key is None:
        if settings.host in _OWN:
            return
        raise ForbiddenError("set REJOINDER_ADMIN_KEY to allow this over the network", code="admin_key_not_set")
    given = request.headers.get("authorization", "").encode()
    if not hmac.compare_digest(given, f"Bearer {settings.admin_key}".encode()):
        raise UnauthorizedError("this needs the administrator's key as a bearer token", code="invalid_api_key")
