"""A limit to the body of every request.

Pure ASGI: Starlette's own middleware class hides a client's leaving from the route.
"""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import TooLargeError, UnsupportedMediaError, answer


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
        patience = 16 * self._limit  # more than the proxy lets through, which answers 413 itself then
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
