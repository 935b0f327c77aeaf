"""Headers that tell browsers what a page may do; every response carries them."""

from collections.abc import Mapping
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS: Final = {
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
HTTPS_ALONE: Final = {"Strict-Transport-Security": f"max-age={365 * 24 * 3600}"}
"""Where a browser came by https it is to come by it again; on a service without, this would lock it out."""


def headers_for(scheme: str) -> Mapping[str, str]:
    """Return the headers for what was asked for by `scheme`."""
    return SECURITY_HEADERS | HTTPS_ALONE if scheme == "https" else SECURITY_HEADERS


class SecurityHeaders:
    """Add the security headers to every response that comes from within."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        added = headers_for(scope["scheme"])

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in added.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)
