"""`/` and the two forms on it. A form answers with a redirection, or with JSON when the page's script asks for it."""

from typing import Annotated, TypeVar
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.responses import JSONResponse, RedirectResponse, Response

from app.database import Reading, Writing
from app.disconnection import unless_gone
from app.errors import BadRequestError
from app.pages.rendering import address, chat_page
from app.pages.schemas import MessageForm, Place, ThumbForm
from app.pages.service import PagesService

router = APIRouter(include_in_schema=False)

M = TypeVar("M", bound=BaseModel)


async def _service(request: Request) -> PagesService:
    service: PagesService = request.app.state.pages
    return service


async def _place(request: Request) -> Place:
    return _read(Place, dict(request.query_params), "query")


async def _message(request: Request) -> MessageForm:
    return _read(MessageForm, await _form(request), "body")


async def _thumb(request: Request) -> ThumbForm:
    return _read(ThumbForm, await _form(request), "body")


Service = Annotated[PagesService, Depends(_service)]


@router.get("/")
def show(request: Request, place: Annotated[Place, Depends(_place)], session: Reading, service: Service) -> Response:
    """Show the chat."""
    return chat_page(request, service.show(session, place))


@router.post("/chat")
async def say(request: Request, form: Annotated[MessageForm, Depends(_message)], service: Service) -> Response:
    """Answer a message."""
    said = await unless_gone(request, service.say(form))
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse(said.model_dump())
    return RedirectResponse(f"{address(form, conversation=said.conversation)}#{said.reply_id}", status_code=303)


@router.post("/rate")
def rate(form: Annotated[ThumbForm, Depends(_thumb)], session: Writing, service: Service) -> Response:
    """Store a thumb."""
    service.rate(session, form)
    return RedirectResponse(f"{address(form)}#{form.reply_id}", status_code=303)


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a native form, which are few and short: no parser of uploads is needed for them."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadRequestError("expected a form, application/x-www-form-urlencoded", code="invalid_body")
    try:
        fields = parse_qsl((await request.body()).decode("ascii", "replace"), keep_blank_values=True, max_num_fields=32)
    except ValueError:
        raise BadRequestError("the form has too many fields", code="invalid_body") from None
    return dict(fields)


def _read(model: type[M], values: dict[str, str], where: str) -> M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = [{**fault, "loc": (where, *fault["loc"])} for fault in error.errors()]
        raise RequestValidationError(faults) from None
