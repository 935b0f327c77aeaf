"""The guard before every request: who asks, whether they may, and how often. It reads no body.

Pure ASGI, outside of all that reads or parses. With a database that does not answer nobody new is let in.
"""

from collections.abc import Callable, Mapping

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.caller import EVERYBODY, NOBODY, Caller
from app.access.rules import OPEN, Rule, rule_for
from app.errors import (
    ForbiddenError,
    NotFoundError,
    ServiceError,
    UnauthorizedError,
    from_exception,
)
from app.keys.keyring import Keyring
from app.pages.forms import refuse_foreign
from app.rate_limits.limiter import Limiter, Limits, limits_of
from app.request_facts import note
from app.settings import Settings

COOKIE = "rejoinder-key"
"""Of a browser that signed in with a key."""


def is_open(settings: Settings) -> bool:
    """Say whether there is nothing to guard: everybody may do everything, as often as they like."""
    return settings.admits == "all" and limits_of(settings) == Limits()


Refuse = Callable[[Request, ServiceError], Response]


class AccessGuard:
    """Let a request pass, with its `Caller` in `request.state`, or answer it with `refuse`."""

    def __init__(self, app: ASGIApp, settings: Settings, refuse: Refuse) -> None:
        self._app = app
        self._refuse = refuse
        self._admits = settings.admits
        self._is_open = is_open(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        if self._is_open:
            state["caller"] = EVERYBODY
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        state["caller"] = NOBODY
        try:
            state["caller"], told = await self._admit(request)
        except Exception as error:
            await self._refuse(request, from_exception(error))(scope, receive, send)
            return
        await self._app(scope, receive, _telling(send, told) if told else send)

    async def _admit(self, request: Request) -> tuple[Caller, Mapping[str, str]]:
        """Return who asks and what they are told about their limit. Raises ServiceError."""
        rule = rule_for(request.method, request.scope["path"])
        if rule is OPEN:
            return NOBODY if self._admits != "all" else EVERYBODY, {}
        limiter: Limiter = request.app.state.limiter
        address = None if request.client is None else request.client.host
        if rule is not None and rule.allowance == "rater":
            return NOBODY, limiter.count_rater(address)
        if self._admits == "all":
            return EVERYBODY, limiter.count_address(address)
        try:
            caller = await self._caller(request, rule)
        except UnauthorizedError:
            limiter.count_address(address)  # who goes on guessing hears that it is too much
            raise
        if caller.key_id is not None:
            note(key_id=caller.key_id)
        told = limiter.count_address(address) if caller.key_id is None else limiter.count_key(caller.key_id)
        self._authorize(request, caller, rule)
        return caller, told

    async def _caller(self, request: Request, rule: Rule | None) -> Caller:
        """Return whose key comes along. Raises UnauthorizedError where one is needed and none that works is there."""
        keyring: Keyring = request.app.state.keyring
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and secret.strip():
            return await keyring.by_secret(secret.strip())
        without = rule is not None and (not rule.needs_key or (rule.anonymous and self._admits == "chat"))
        cookie = request.cookies.get(COOKIE)
        if cookie:
            try:
                caller = await keyring.by_cookie(cookie)
            except UnauthorizedError:
                if without:
                    return NOBODY
                raise
            if request.method not in ("GET", "HEAD"):
                refuse_foreign(request)  # a browser sends its cookies along whoever asks it to
            return caller
        if without:
            return NOBODY
        raise UnauthorizedError(
            "this needs an API key, sent as `Authorization: Bearer KEY`; `rejoinder keys create` makes one",
            code="invalid_api_key",
        )

    def _authorize(self, request: Request, caller: Caller, rule: Rule | None) -> None:
        if rule is None:
            if not caller.sees_all:
                raise NotFoundError("there is nothing at this address", code="not_found")
        elif rule.needs_key and not caller.may(rule.scopes):
            if rule.anonymous and self._admits == "chat":
                return  # what anybody may, a key for something else does not forbid
            needed = " or ".join(sorted(rule.scopes))
            raise ForbiddenError(f"this needs a key with the scope {needed}", code="insufficient_scope")


def _telling(send: Send, told: Mapping[str, str]) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(told)
        await send(message)

    return send_with_headers
