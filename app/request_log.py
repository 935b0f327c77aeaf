"""One line in the log, and one count, for each request: which route, how it ended, how long it took.

Never the path itself, a query, a body or an address: a path names conversations, whose names are secrets. Pure ASGI, as
`app.middleware` says why.
"""

import logging
import re
import time
from typing import Final

from asgi_correlation_id import CorrelationIdMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.rules import template_for
from app.monitoring.metrics import RequestMetrics
from app.request_facts import noting

log = logging.getLogger(__name__)

UNMATCHED: Final = "none"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET: Final = ("/health/", "/metrics", "/static/")
"""Asked for every few seconds by machines, or beside every page: in the log at level debug."""
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class RequestLog:
    """Log and count every request."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and say afterwards what came of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 499  # nothing was sent: the client had left

        async def send_and_see(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        with noting() as facts, self._metrics.in_flight.track_inprogress():
            try:
                await self._app(scope, receive, send_and_see)
            except Exception:
                status = 500  # answered outside of here
                raise
            finally:
                seconds = time.perf_counter() - started
                method = scope["method"] if scope["method"] in _METHODS else "OTHER"
                route = route_of(scope)
                self._metrics.count(method, route, status, seconds)
                level = logging.DEBUG if route.startswith(_QUIET) else logging.INFO
                if log.isEnabledFor(level):
                    line = {"method": method, "route": route, "status": status, "duration_ms": round(seconds * 1e3, 2)}
                    log.log(level, "request", extra={"facts": line | facts})


def route_of(scope: Scope) -> str:
    """Return the template of the route that a request met, or asked for: as many values as there are routes."""
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return path
    if isinstance(scope.get("endpoint"), StaticFiles):
        return "/static/{path}"
    # The router never saw what was refused before it.
    return template_for(scope["method"], scope["path"]) or UNMATCHED


def request_ids(app: ASGIApp) -> ASGIApp:
    """Return `app` with an id for each request: the client's `X-Request-ID` where it is one, else a new one."""
    # The header of the request is left as it came; what is no id is never repeated, in the log or elsewhere.
    return CorrelationIdMiddleware(
        app, validator=lambda given: _ID.fullmatch(given) is not None, update_request_header=False
    )
