"""The service's errors: each knows its status, and every one leaves as the same JSON object, made here alone."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from asgi_correlation_id import correlation_id
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from sqlalchemy import exc as database_errors
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from app.request_facts import note
from app.security_headers import headers_for
from chatbot.errors import RejoinderError, RequestError

log = logging.getLogger(__name__)


DATABASE_AWAY: Final = (
    database_errors.OperationalError,
    database_errors.InterfaceError,
    database_errors.InternalError,  # it has ended our transaction, since this process stood still for too long
    database_errors.TimeoutError,
)
"""What is raised when the database does not answer, or has no room left: what was begun is undone."""


class ServiceError(Exception):
    """Something that the client must be told, with the HTTP status that says it."""

    status: int = 500
    type: str = "server_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.headers = dict(headers or {})


class BadRequestError(ServiceError):
    """The request cannot be met as it is; `param` names the field."""

    status = 400
    type = "invalid_request_error"


class UnauthorizedError(ServiceError):
    """It is not known who asks."""

    status = 401
    type = "authentication_error"

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message, code=code, headers={"WWW-Authenticate": "Bearer"})


class ForbiddenError(ServiceError):
    """It is known who asks, and this is not for them, or not yet."""

    status = 403
    type = "permission_error"


class NotFoundError(ServiceError):
    """What the request names does not exist."""

    status = 404
    type = "invalid_request_error"


class ConflictError(ServiceError):
    """The request contradicts what is stored."""

    status = 409
    type = "invalid_request_error"


class TooLargeError(ServiceError):
    """The body is longer than the limit."""

    status = 413
    type = "invalid_request_error"


class OverloadedError(ServiceError):
    """The queue is full; `Retry-After` says when to try again."""

    status = 429
    type = "rate_limit_error"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message, code="queue_full", headers={"Retry-After": str(retry_after)})


class RateLimitedError(ServiceError):
    """The caller asks more often than they may; `Retry-After` says when to go on."""

    status = 429
    type = "rate_limit_error"

    def __init__(self, message: str, *, retry_after: int, headers: Mapping[str, str]) -> None:
        super().__init__(message, code="rate_limit_exceeded", headers={**headers, "Retry-After": str(retry_after)})


class UnsupportedMediaError(ServiceError):
    """The body comes in a form that is not read here."""

    status = 415
    type = "invalid_request_error"


class ClientGoneError(ServiceError):
    """The client has left: nobody reads this answer."""

    status = 499
    type = "client_closed_request"


class UnavailableError(ServiceError):
    """A part of the service does not answer just now."""

    status = 503


class GenerationError(ServiceError):
    """The model failed at a request that looked right."""


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The one shape of every error."""

    error: ErrorDetail


def detail(error: ServiceError) -> dict[str, Any]:
    """Return the JSON object of `error`."""
    body = ErrorDetail(
        message=_sendable(error.message),
        type=error.type,
        param=None if error.param is None else _sendable(error.param),
        code=error.code,
    )
    return ErrorBody(error=body).model_dump()


def answer(error: ServiceError) -> JSONResponse:
    """Return the response of `error`."""
    return JSONResponse(detail(error), status_code=error.status, headers=error.headers)


def from_exception(exception: Exception) -> ServiceError:
    """Return what the client is told about `exception`; what it need not know is logged instead."""
    match exception:
        case ServiceError():
            return exception
        case RequestValidationError():
            return _from_validation(exception.errors())
        case HTTPException():
            return _from_http(exception)
        case RequestError():
            return BadRequestError(str(exception), param=exception.param)
        case RejoinderError():
            return BadRequestError(str(exception))
        case exception if isinstance(exception, DATABASE_AWAY):
            log.error("the database does not answer: %s", getattr(exception, "orig", exception))
            return UnavailableError(
                "the database does not answer; nothing was stored",
                code="database_unavailable",
                headers={"Retry-After": "5"},
            )
        case _:
            log.error("unexpected %s", type(exception).__name__, exc_info=exception)
            return ServiceError("the service failed; the fault is logged", code="internal_error")


HANDLED = (ServiceError, RequestValidationError, HTTPException, RejoinderError, *DATABASE_AWAY)


def install(app: FastAPI, page: Callable[[Request, ServiceError], Response]) -> None:
    """Answer every exception of `app` in the one shape; a person's browser gets `page` instead of JSON."""

    async def handle(request: Request, exception: Exception) -> Response:
        error = from_exception(exception)
        note(error=error.code or error.type)
        if error.code == "method_not_allowed":
            error.headers["Allow"] = ", ".join(_methods(request))
        return page(request, error) if is_for_a_person(request) else answer(error)

    async def handle_outside(request: Request, exception: Exception) -> Response:
        """Answer what is caught outside of all middleware, which therefore adds neither an id nor headers."""
        response = await handle(request, exception)
        response.headers.update(headers_for(request.url.scheme))
        response.headers["X-Request-ID"] = correlation_id.get() or ""
        return response

    for kind in HANDLED:
        app.add_exception_handler(kind, handle)
    app.add_exception_handler(Exception, handle_outside)


def _methods(request: Request) -> list[str]:
    """Return what may be done at the request's address; Starlette's own header knows one route of several."""

    def is_answered(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return [method for method in ("DELETE", "GET", "PATCH", "POST", "PUT") if is_answered(method)]


def is_for_a_person(request: Request) -> bool:
    """Say whether a browser asks that will show the answer as a page."""
    if request.url.path.startswith(("/v1/", "/health/")):
        return False
    return "text/html" in request.headers.get("accept", "")


def parameter(location: Sequence[int | str]) -> str | None:
    """Return the name of a field as the client would write it: `messages[0].content`; None for the whole body."""
    name = ""
    for part in location:
        if isinstance(part, int):
            name += f"[{part}]"
        elif not part.startswith("("):  # "(text)" tags a branch of a union: no field of the client's
            name += f".{part}" if name else part
    return name or None


def _from_http(exception: HTTPException) -> ServiceError:
    """Return the error for what the framework itself refuses: no such route, wrong method, unreadable body."""
    headers = dict(exception.headers or {})
    match exception.status_code:
        case 404:
            return NotFoundError("there is nothing at this address", code="not_found", headers=headers)
        case 405:
            error: ServiceError = BadRequestError(
                "this address does not answer that method", code="method_not_allowed", headers=headers
            )
        case 400:
            return BadRequestError("the body is not JSON that can be read", code="invalid_json", headers=headers)
        case _:
            error = ServiceError(str(exception.detail), headers=headers)
    error.status = exception.status_code
    return error


def _from_validation(found: Sequence[Any]) -> ServiceError:
    """Return one error for the first of the faults `found` in a body, a query or a path."""
    first = found[0]
    location = tuple(first["loc"])
    if first["type"] == "json_invalid":
        return BadRequestError(
            f"the body is not JSON: {first['ctx']['error']} at character {location[-1]}", code="invalid_json"
        )
    param = parameter(location[1:])  # location[0] says body, query or path
    if param is None:
        if first["type"] == "string_unicode":
            return BadRequestError("a field's name holds half of a surrogate pair", code="lone_surrogate")
        return BadRequestError(
            "the body must be a JSON object, sent with Content-Type: application/json", code="invalid_body"
        )
    reason = {
        "extra_forbidden": "is not a parameter of this call",
        "missing": "is required",
    }.get(first["type"], _lower_first(re.sub(r"^Input ", "", first["msg"])))
    rest = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return BadRequestError(f"{param[:200]}: {reason}{rest}", param=param[:200], code=first["type"])


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _sendable(text: str) -> str:
    """Replace what UTF-8 cannot hold: a field's name may quote the client's broken text."""
    return text.encode("utf-8", "replace").decode("utf-8")
