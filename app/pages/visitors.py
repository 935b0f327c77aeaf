"""Who comes again: a random cookie for a browser, stored by its hash alone, and what it prefers to see."""

import hashlib
import secrets
from typing import Annotated

from fastapi import Depends, Request
from starlette.responses import Response

COOKIE = "rejoinder-visitor"
SECONDS = 365 * 24 * 3600


def visitor_token(request: Request) -> str | None:
    """Return the browser's cookie, if it has one."""
    return request.cookies.get(COOKIE) or None


Visitor = Annotated[str | None, Depends(visitor_token)]


def sha256_of_visitor(token: str | None) -> str | None:
    """Return what is stored of a cookie."""
    return None if token is None else hashlib.sha256(token.encode()).hexdigest()


def new_visitor() -> str:
    """Return a cookie for a browser that has none."""
    return secrets.token_urlsafe(24)


def remember(response: Response, request: Request, name: str, value: str, *, readable: bool = False) -> None:
    """Have the browser keep a cookie for a year; only a `readable` one can be seen by our scripts."""
    response.set_cookie(
        name, value, max_age=SECONDS, httponly=not readable, samesite="lax", secure=request.url.scheme == "https"
    )
