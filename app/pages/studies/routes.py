"""`/studies` and `/studies/{slug}`: what the interface does for owners, as forms."""

import secrets
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.chat.service import DRAWN_SEEDS, ChatService
from app.database import Database, Reading, Writing
from app.errors import ConflictError, ServiceError, from_exception
from app.judging.routes import Work
from app.pages.forms import form_of, see_other
from app.pages.rendering import page
from app.pages.studies.schemas import DraftForm, InviteForm, Nothing
from app.raters import service as raters
from app.raters.routes import LARGEST_ID, Slug
from app.raters.schemas import InvitationRequest, NewInvitation
from app.studies import service
from app.studies.filling import StudyFilling
from app.studies.schemas import StudyRequest
from chatbot.errors import RejoinderError

router = APIRouter(prefix="/studies")

SHOWN_ITEMS = 25

After = Annotated[int, Query(ge=0, le=LARGEST_ID)]
"""The item before the first that is shown."""

Pressed = Depends(form_of(Nothing))


@router.get("")
def show_all(request: Request, session: Reading) -> Response:
    """Show all studies, and the form for a new one."""
    return _overview(request, session, DraftForm(seed=secrets.randbelow(DRAWN_SEEDS)))


@router.post("")
async def draft(
    request: Request, form: Annotated[DraftForm, Depends(form_of(DraftForm, lists=("systems",)))], database: Work
) -> Response:
    """Draft a study and fill it, all of it or nothing; what was typed comes back with what is wrong."""
    filling: StudyFilling = request.app.state.filling
    try:
        study, items = form.study(), form.items()
    except ServiceError as error:
        fault = error
        return await database.read(lambda session: _overview(request, session, form, fault))
    try:
        await filling.draft(study, items)
    except (ServiceError, RejoinderError) as error:
        fault = from_exception(error)
        if fault.code == "study_exists" and await database.read(lambda session: _is_stored(session, study)):
            return see_other(f"/studies/{study.slug}")  # sent twice: it is there
        return await database.read(lambda session: _overview(request, session, form, fault))
    return see_other(f"/studies/{study.slug}")


@router.get("/{slug}")
def show(request: Request, slug: Slug, session: Reading, after: After = 0) -> Response:
    """Show how far a study is, and its items from the one `after` another on."""
    return _study(request, session, slug, after=after)


@router.post("/{slug}/start", dependencies=[Pressed])
async def start(request: Request, slug: Slug, database: Work) -> Response:
    """Freeze a draft and open it to its raters."""
    return await _do(request, slug, database, lambda session: service.start(session, slug))


@router.post("/{slug}/close", dependencies=[Pressed])
async def close(request: Request, slug: Slug, database: Work) -> Response:
    """End a study."""
    return await _do(request, slug, database, lambda session: service.close(session, slug))


@router.post("/{slug}/delete", dependencies=[Pressed])
async def delete(request: Request, slug: Slug, database: Work) -> Response:
    """Delete a draft."""
    await database.write(lambda session: service.delete_draft(session, slug))
    return see_other("/studies")


@router.post("/{slug}/invite")
def invite(
    request: Request, slug: Slug, form: Annotated[InviteForm, Depends(form_of(InviteForm))], session: Writing
) -> Response:
    """Make a link; it is shown this once."""
    body = InvitationRequest(label=form.label, max_raters=form.max_raters, expires_in_days=form.days)
    return _study(request, session, slug, invitation=raters.invite(session, slug, body, form.token))


@router.get("/{slug}/invite")
def leave_invitation(slug: Slug) -> Response:
    """Lead back: a link is shown only where it was made."""
    return see_other(f"/studies/{slug}")


@router.post("/{slug}/invitations/{invitation_id}/revoke", dependencies=[Pressed])
async def revoke(
    request: Request, slug: Slug, invitation_id: Annotated[int, Path(ge=1, le=LARGEST_ID)], database: Work
) -> Response:
    """Let nobody in by a link any more."""
    return await _do(request, slug, database, lambda session: raters.revoke(session, slug, invitation_id))


@router.post("/{slug}/items/{item_id}/withdraw", dependencies=[Pressed])
async def withdraw(
    request: Request, slug: Slug, item_id: Annotated[int, Path(ge=1, le=LARGEST_ID)], database: Work, after: After = 0
) -> Response:
    """Give an item to nobody any more."""
    return await _do(request, slug, database, lambda session: service.withdraw(session, slug, item_id), after)


async def _do(
    request: Request, slug: str, database: Database, work: Callable[[Session], object], after: int = 0
) -> Response:
    """Do what a button asks for and lead back to where it was; a conflict is said on the page."""
    try:
        await database.write(work)
    except ConflictError as error:
        fault = error
        return await database.read(lambda session: _study(request, session, slug, fault=fault, after=after))
    return see_other(f"/studies/{slug}?after={after}#items" if after else f"/studies/{slug}")


def _overview(request: Request, session: Session, form: DraftForm, fault: ServiceError | None = None) -> Response:
    chat: ChatService = request.app.state.chat
    return page(
        request,
        "studies/all.html",
        "studies",
        status=200 if fault is None else fault.status,
        studies=service.list_studies(session).data,
        form=form,
        fault=fault,
        models=list(chat.models),
    )


def _is_stored(session: Session, study: StudyRequest) -> bool:
    stored = service.get(session, study.slug)
    return study.seed != 0 and (stored.title, stored.seed) == (study.title, study.seed)


def _study(
    request: Request,
    session: Session,
    slug: str,
    *,
    invitation: NewInvitation | None = None,
    fault: ServiceError | None = None,
    after: int = 0,
) -> Response:
    return page(
        request,
        "studies/study.html",
        "studies",
        status=200 if fault is None else fault.status,
        study=service.get(session, slug),
        progress=service.progress(session, slug),
        items=service.list_items(session, slug, limit=SHOWN_ITEMS, after=after),
        after=after,
        invitations=raters.list_invitations(session, slug).data,
        invitation=invitation,
        token=raters.new_token(),
        link=None if invitation is None else f"{str(request.base_url).rstrip('/')}{invitation.path}",
        fault=fault,
    )
