"""`/` and its forms. A form answers with a redirection, or with a stream when the page's script asks for it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from app.database import Reading, Writing
from app.disconnection import unless_gone
from app.pages.chat.schemas import AgainForm, MessageForm, Place, PrivacyForm, ScaleForm, ThumbForm
from app.pages.chat.service import PagesService
from app.pages.forms import form_of, query_of, see_other
from app.pages.rendering import address, page
from app.pages.visitors import COOKIE, Visitor, new_visitor, remember, sha256_of_visitor

router = APIRouter()


async def _service(request: Request) -> PagesService:
    service: PagesService = request.app.state.pages
    return service


Service = Annotated[PagesService, Depends(_service)]


@router.get("/")
def show(
    request: Request,
    place: Annotated[Place, Depends(query_of(Place))],
    session: Reading,
    visitor: Visitor,
    service: Service,
) -> Response:
    """Show the chat."""
    shown = service.show(session, place, sha256_of_visitor(visitor))
    return page(request, "chat.html", "chat", page=shown, place=shown.place)


@router.post("/chat")
async def say(
    request: Request, form: Annotated[MessageForm, Depends(form_of(MessageForm))], visitor: Visitor, service: Service
) -> Response:
    """Answer a message."""
    return await _exchange(request, form, visitor, service)


@router.post("/chat/again")
async def again(
    request: Request, form: Annotated[AgainForm, Depends(form_of(AgainForm))], visitor: Visitor, service: Service
) -> Response:
    """Draw a reply anew."""
    return await _exchange(request, form, visitor, service)


@router.post("/rate")
def rate(
    form: Annotated[ThumbForm, Depends(form_of(ThumbForm, lists=("reasons",)))], session: Writing, service: Service
) -> Response:
    """Store a thumb."""
    service.rate(session, form)
    return see_other(f"{address(form)}#{form.reply_id}")


@router.post("/chat/scale")
def scale(form: Annotated[ScaleForm, Depends(form_of(ScaleForm))], session: Writing, service: Service) -> Response:
    """Store values on dimensions."""
    service.scale(session, form)
    return see_other(f"{address(form)}#{form.reply_id}")


@router.post("/chat/privacy")
def protect(
    form: Annotated[PrivacyForm, Depends(form_of(PrivacyForm))], session: Writing, service: Service
) -> Response:
    """Say whether the words of a conversation may be used."""
    service.protect(session, form)
    return see_other(address(form))


@router.post("/chat/delete")
def delete(form: Annotated[Place, Depends(form_of(Place))], session: Writing, service: Service) -> Response:
    """Delete a conversation."""
    service.delete(session, form.conversation)
    return see_other(address(form, conversation=""))


async def _exchange(
    request: Request, form: MessageForm | AgainForm, visitor: str | None, service: PagesService
) -> Response:
    token = visitor or new_visitor()
    streams = "text/event-stream" in request.headers.get("accept", "")
    exchange = await service.plan(form, sha256_of_visitor(token))
    response: Response
    if exchange.standing is not None:  # sent twice: what it asked for is there
        there = f"{address(form, conversation=exchange.conversation)}#{exchange.standing}"
        response = JSONResponse({"address": there}) if streams else see_other(there)
    elif streams:
        response = await unless_gone(request, service.stream(exchange, form))
    else:
        reply_id = await unless_gone(request, service.answer(exchange, form))
        response = see_other(f"{address(form, conversation=exchange.conversation)}#{reply_id}")
    if visitor is None:
        remember(response, request, COOKIE, token)
    return response
