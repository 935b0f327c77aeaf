"""Invitations, joining and being forgotten. A rater's session travels as a cookie of its study or as a bearer token."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from app.database import Database, Reading, Writing
from app.errors import UnavailableError
from app.raters import service
from app.raters.schemas import (
    ConsentRequest,
    ErasedRater,
    InvitationEntry,
    InvitationList,
    InvitationRequest,
    JoinRequest,
    NewInvitation,
    NewRaterSession,
    RaterSession,
)
from app.wire import Text

router = APIRouter(tags=["raters"])

LARGEST_ID = 2**63 - 1
COOKIE_SECONDS = 90 * 24 * 3600

Slug = Annotated[Text, Path(max_length=64)]


def cookie_name(slug: str) -> str:
    """Return the name of a study's cookie: one for each, so that no study ends another one's session."""
    return f"rejoinder-rater-{slug}"


def session_token(request: Request, slug: Slug) -> str | None:
    """Return the session token that a request carries for the study `slug`."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        return token.strip()
    return request.cookies.get(cookie_name(slug))


Token = Annotated[str | None, Depends(session_token)]


@router.post("/v1/studies/{slug}/invitations", status_code=201)
def invite(slug: Slug, body: InvitationRequest, session: Writing) -> NewInvitation:
    """Make a link by which raters join a study; its token is told this once."""
    return service.invite(session, slug, body)


@router.get("/v1/studies/{slug}/invitations")
def list_invitations(slug: Slug, session: Reading) -> InvitationList:
    """List the links into a study, without their tokens."""
    return service.list_invitations(session, slug)


@router.delete("/v1/studies/{slug}/invitations/{invitation_id}")
def revoke(slug: Slug, invitation_id: Annotated[int, Path(ge=1, le=LARGEST_ID)], session: Writing) -> InvitationEntry:
    """Let nobody in by a link any more."""
    return service.revoke(session, slug, invitation_id)


@router.post("/v1/raters/join", status_code=201)
def join(body: JoinRequest, session: Writing) -> NewRaterSession:
    """Begin a session by the token of a link; the session's own token is told this once."""
    return service.join(session, body)


@router.get("/rate/join/{token}", status_code=303, response_class=RedirectResponse)
def follow_link(
    request: Request,
    token: Annotated[Text, Path(max_length=128)],
    session: Writing,
    ref: Annotated[Text | None, Query(min_length=1, max_length=255)] = None,
) -> Response:
    """Begin a session in a browser: a cookie, and on to the study. `ref` is what the owner knows the rater by."""
    body = JoinRequest(token=token, external_ref=ref)
    joined = service.join(session, body, held=lambda slug: request.cookies.get(cookie_name(slug)))
    for_a_person = "text/html" in request.headers.get("accept", "")
    address = f"/rate/{joined.study}" if for_a_person else f"/v1/studies/{joined.study}/session"
    response = RedirectResponse(address, status_code=303)
    response.set_cookie(
        cookie_name(joined.study),
        joined.session_token,
        max_age=COOKIE_SECONDS,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    response.headers["Cache-Control"] = "no-store"
    return response


@router.get("/v1/studies/{slug}/session")
def describe(slug: Slug, token: Token, session: Reading) -> RaterSession:
    """Say where a rater stands, and what there is to agree to."""
    return service.describe(session, slug, token)


@router.post("/v1/studies/{slug}/consent")
def consent(slug: Slug, body: ConsentRequest, token: Token, session: Writing) -> RaterSession:
    """Agree to the study's consent text, by its version."""
    return service.consent(session, slug, token, body)


@router.delete("/v1/raters/{public_id}")
async def erase(public_id: Annotated[Text, Path(max_length=48)], request: Request) -> ErasedRater:
    """Forget who a rater is and what they wrote; the numbers stay."""
    database: Database = request.app.state.database
    erased = await database.write(lambda session: service.erase(session, public_id))
    if not await run_in_threadpool(database.scrub):
        raise UnavailableError(
            "the rater is erased, but the database's log holds traces while it is being read; ask again",
            code="log_in_use",
            headers={"Retry-After": "5"},
        )
    return erased
