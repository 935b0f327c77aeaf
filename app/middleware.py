"""What happens around every request: a limit to its body, and headers that tell browsers what a page may do.

Pure ASGI: Starlette's own middleware class hides a client's leaving from the route.
"""

from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import TooLargeError, answer

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class SecurityHeaders:
    """Add the security headers to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class BodyLimit:
    """Answer 413 to a body longer than the limit, whether or not its length was announced.

    What is posted to one of the `uploads` is not read here: their route reads it, by a limit of its own.
    """

    def __init__(self, app: ASGIApp, limit: int, uploads: Sequence[str] = ()) -> None:
        self._app = app
        self._limit = limit
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, at most up to the limit, then pass the request on."""
        if scope["type"] != "http" or (scope["method"] == "POST" and scope["path"] in self._uploads):
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        # A client that is refused while it still sends often sees a broken pipe and not our answer: read on a little.
        patience = 8 * self._limit
        if announced.isdecimal() and int(announced[:20]) > patience:
            await self._refuse(scope, receive, send)
            return
        chunks: list[bytes] = []
        length = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            chunk = message.get("body", b"")
            length += len(chunk)
            if length <= self._limit:
                chunks.append(chunk)
            else:
                chunks.clear()
            if not message.get("more_body", False) or length > patience:
                break
        if length > self._limit:
            await self._refuse(scope, receive, send)
            return

        body: Message | None = {"type": "http.request", "body": b"".join(chunks), "more_body": False}

        async def receive_again() -> Message:
            nonlocal body
            if body is not None:
                message, body = body, None
                return message
            return await receive()

        await self._app(scope, receive_again, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = TooLargeError(
            f"the body is longer than {self._limit} bytes", code="body_too_large", headers={"Connection": "close"}
        )
        await answer(error)(scope, receive, send)
