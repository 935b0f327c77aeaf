"""Reading native forms and addresses, and refusing forms that another site's page sent.

Cookies go along with every form, whoever's page it stands on; so the browser is asked where the form came from
(`Sec-Fetch-Site`, or `Origin` in older ones). No hidden token is needed, and nothing can run out between two pages.
"""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.responses import RedirectResponse

from app.errors import BadRequestError, ForbiddenError

M = TypeVar("M", bound=BaseModel)

Fields = dict[str, str | list[str]]


def form_of(model: type[M], *, lists: tuple[str, ...] = ()) -> Callable[[Request], Coroutine[Any, Any, M]]:
    """Return a dependency that reads a form into `model`; the fields in `lists` may come several times.

    It raises ForbiddenError for another site's form, BadRequestError or RequestValidationError for one that is wrong.
    """

    async def read(request: Request) -> M:
        refuse_foreign(request)
        return validated(model, await _fields(request, lists), "body")

    return read


def query_of(model: type[M]) -> Callable[[Request], Coroutine[Any, Any, M]]:
    """Return a dependency that reads an address's query into `model`. It raises RequestValidationError."""

    async def read(request: Request) -> M:
        return validated(model, dict(request.query_params), "query")

    return read


def refuse_foreign(request: Request) -> None:
    """Raise ForbiddenError when a browser says that the request comes from another site's page."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        foreign = site not in ("same-origin", "none")
    else:
        origin = request.headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if foreign:
        raise ForbiddenError("this form came from another site; open our own page instead", code="foreign_form")


def validated(model: type[M], values: Fields | dict[str, str], where: str) -> M:
    """Return `values` as `model`. Raises RequestValidationError."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = [{**fault, "loc": (where, *fault["loc"])} for fault in error.errors()]
        raise RequestValidationError(faults) from None


def see_other(address: str) -> RedirectResponse:
    """Return the answer to a form: another page, so that reloading it sends nothing again."""
    return RedirectResponse(address, status_code=303)


async def _fields(request: Request, lists: tuple[str, ...]) -> Fields:
    """Return the fields of a native form, which are few and short: no parser of uploads is needed for them."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadRequestError("expected a form, application/x-www-form-urlencoded", code="invalid_body")
    try:
        pairs = parse_qsl((await request.body()).decode("ascii", "replace"), keep_blank_values=True, max_num_fields=64)
    except ValueError:
        raise BadRequestError("the form has too many fields", code="invalid_body") from None
    fields: Fields = {name: value for name, value in pairs if name not in lists}
    for name in lists:
        fields[name] = [value for given, value in pairs if given == name]
    return fields
