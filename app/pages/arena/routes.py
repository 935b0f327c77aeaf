"""`/arena` and its forms: a round, a vote, a skip; they answer with a redirection, or JSON for the page's script."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from app.arena.service import SLUG, Arena
from app.disconnection import unless_gone
from app.errors import ConflictError, NotFoundError, UnauthorizedError
from app.judging import service as judging
from app.judging.routes import Work
from app.judging.schemas import Judged, Lease, SkipRequest
from app.pages.forms import form_of, query_of, see_other
from app.pages.rating.schemas import JudgeForm, Seat
from app.pages.rendering import page
from app.pages.visitors import remember
from app.raters.routes import cookie_name
from app.wire import Text

router = APIRouter(prefix="/arena")


class RoundForm(BaseModel):
    """A message to two systems."""

    model_config = ConfigDict(extra="ignore")

    message: Annotated[Text, Field(max_length=100_000)] = ""


class PassForm(BaseModel):
    """A pair that is left without a vote."""

    lease: Lease


async def _arena(request: Request) -> Arena:
    arena: Arena = request.app.state.arena
    return arena


async def _token(request: Request) -> str | None:
    return request.cookies.get(cookie_name(SLUG)) or None


Ours = Annotated[Arena, Depends(_arena)]
Visiting = Annotated[str | None, Depends(_token)]


@router.get("")
async def show(
    request: Request, seat: Annotated[Seat, Depends(query_of(Seat))], token: Visiting, arena: Ours, database: Work
) -> Response:
    """Show the pair that waits for a vote, what was just voted on, or the box for a message."""
    ring = await database.write(lambda session: arena.show(session, token, seat.after))
    models = request.app.state.models
    return page(
        request,
        "arena.html",
        "arena",
        ring=ring,
        notice=seat.notice,
        enough=len(arena.contestants) >= 2,
        models=models.names,
        broken=list(models.broken),
        longest_message=request.app.state.settings.max_message_chars,
    )


@router.post("/round")
async def play(
    request: Request, form: Annotated[RoundForm, Depends(form_of(RoundForm))], token: Visiting, arena: Ours
) -> Response:
    """Have two systems reply."""
    own = token or secrets.token_urlsafe(32)
    task = await unless_gone(request, arena.play(own, form.message))
    response: Response = see_other("/arena")
    if _wants_json(request):
        replies = {str(reply.side): reply.text for reply in task.replies}
        response = JSONResponse({"lease": task.lease, "message": task.messages[-1]["content"], **replies})
    if token is None:
        remember(response, request, cookie_name(SLUG), own)
    return response


@router.post("/vote")
async def vote(
    request: Request, form: Annotated[JudgeForm, Depends(form_of(JudgeForm))], token: Visiting, database: Work
) -> Response:
    """Store a vote, and name the systems; sent twice it counts once."""
    body = form.request()
    try:
        judged: Judged = await database.write(lambda session: judging.judge(session, SLUG, token, body))
    except (ConflictError, NotFoundError, UnauthorizedError) as error:
        if _wants_json(request):
            raise
        return see_other(f"/arena?notice={error.code}&after={form.lease}")
    if _wants_json(request):
        return JSONResponse({str(one.side): one.model_dump() for one in judged.reveal or []})
    return see_other(f"/arena?after={form.lease}")


@router.post("/skip")
async def skip(form: Annotated[PassForm, Depends(form_of(PassForm))], token: Visiting, database: Work) -> Response:
    """Leave a pair without a vote."""
    body = SkipRequest(lease=form.lease, reason="cannot_decide")
    try:
        await database.write(lambda session: judging.skip(session, SLUG, token, body))
    except (ConflictError, NotFoundError, UnauthorizedError) as error:
        return see_other(f"/arena?notice={error.code}")
    return see_other("/arena?notice=skipped")


def _wants_json(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")
