"""What happens around every request: a limit to its body, and headers that tell browsers what a page may do.

Pure ASGI: Starlette's own middleware class hides a client's leaving from the route.
"""

from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import TooLargeError, UnsupportedMediaError, answer

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), publickey-credentials-get=(), usb=()"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
HTTPS_ALONE = {"Strict-Transport-Security": f"max-age={365 * 24 * 3600}"}
"""Where a browser came by https it is to come by it again; on a service without, this would lock it out."""


class SecurityHeaders:
    """Add the security headers to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        added = SECURITY_HEADERS | HTTPS_ALONE if scope["scheme"] == "https" else SECURITY_HEADERS

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in added.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class BodyLimit:
    """Answer 413 to a body longer than the limit, whether or not its length was announced, and 415 to a packed one.

    What is posted to one of the `uploads` is not read here: their route reads it, by a limit of its own.
    """

    def __init__(self, app: ASGIApp, limit: int, uploads: Sequence[str] = ()) -> None:
        self._app = app
        self._limit = limit
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, at most up to the limit, then pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope)
        packed = given.get("content-encoding", "identity").strip().lower()
        if packed not in ("", "identity"):  # a few bytes of it may unpack to gigabytes
            refusal = f"Content-Encoding: is {packed[:50]!r}; send the body as it is"
            await answer(UnsupportedMediaError(refusal, code="packed_body"))(scope, receive, send)
            return
        if scope["method"] == "POST" and scope["path"] in self._uploads:
            await self._app(scope, receive, send)
            return
        announced = given.get("content-length", "")
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
