"""`/rate/{study}`: every form leads back to it, so back, reload and a second tab show what is to be done now."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import SystemRandom
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.database import Database
from app.errors import BadRequestError, ConflictError, ForbiddenError, NotFoundError, UnauthorizedError
from app.judging import service as judging
from app.judging.routes import Work
from app.judging.schemas import FlagRequest, Judged, NextTask, SkipRequest
from app.pages.forms import form_of, query_of, see_other
from app.pages.rating.schemas import ConsentForm, FlagForm, JudgeForm, Seat, SkipForm
from app.pages.rendering import page
from app.raters import service as raters
from app.raters.routes import Slug, Token
from app.raters.schemas import ConsentRequest, RaterSession
from app.studies.protocol import STANDARD_CONSENT, STANDARD_DIMENSIONS

router = APIRouter(prefix="/rate")

BREAK_EVERY = 25
"""Judgements after which the page reminds of a break."""


@dataclass(frozen=True)
class Desk:
    """What lies before a rater: where they stand, the next task, and what they just judged."""

    session: RaterSession
    next: NextTask | None
    judged: Judged | None


@router.get("/{slug}")
async def show(
    request: Request, slug: Slug, seat: Annotated[Seat, Depends(query_of(Seat))], token: Token, database: Work
) -> Response:
    """Show what is to be agreed to, to be judged, or why there is nothing."""
    try:
        desk = await database.write(lambda session: _desk(session, slug, token, seat))
    except UnauthorizedError:
        return page(request, "rating/outside.html", "rating", status=401)
    left = 0 if desk.next is None or desk.next.task is None else max(0, desk.next.task.expires - int(time.time()))
    tired = desk.judged is not None and desk.session.judged % BREAK_EVERY == 0
    return page(
        request,
        "rating/desk.html",
        "rating",
        desk=desk,
        standard=STANDARD_DIMENSIONS,
        standard_consent=STANDARD_CONSENT,
        notice=seat.notice,
        seconds_left=left,
        tired=tired,
        fresh=desk.session.judged + desk.session.skipped == 0,
    )


@router.post("/{slug}/consent")
async def consent(
    slug: Slug, form: Annotated[ConsentForm, Depends(form_of(ConsentForm))], token: Token, database: Work
) -> Response:
    """Agree to the consent text."""
    body = ConsentRequest(version=form.version)
    return await _back(slug, database, lambda session: raters.consent(session, slug, token, body))


@router.post("/{slug}/judge")
async def judge(
    slug: Slug, form: Annotated[JudgeForm, Depends(form_of(JudgeForm))], token: Token, database: Work
) -> Response:
    """Judge what one holds; sent twice it counts once."""
    body = form.request()
    return await _back(slug, database, lambda session: judging.judge(session, slug, token, body), f"after={form.lease}")


@router.post("/{slug}/skip")
async def skip(
    slug: Slug, form: Annotated[SkipForm, Depends(form_of(SkipForm))], token: Token, database: Work
) -> Response:
    """Leave what one holds to others."""
    body = SkipRequest(lease=form.lease, reason=form.reason)
    return await _back(slug, database, lambda session: judging.skip(session, slug, token, body), "notice=was_skipped")


@router.post("/{slug}/flag")
async def flag(
    slug: Slug, form: Annotated[FlagForm, Depends(form_of(FlagForm))], token: Token, database: Work
) -> Response:
    """Say that something is wrong with an item."""
    body = FlagRequest(lease=form.lease, flag=form.flag, comment=form.comment.strip() or None)
    return await _back(slug, database, lambda session: judging.flag(session, slug, token, body), "notice=was_flagged")


def _desk(session: Session, slug: str, token: str | None, seat: Seat) -> Desk:
    where = raters.describe(session, slug, token)
    if not where.consented or where.status != "running":
        return Desk(where, None, None)
    judged = None
    if seat.after:
        try:
            judged = judging.describe_judged(session, slug, token, seat.after)
        except NotFoundError:
            judged = None  # an address typed by hand, or another rater's: there is nothing to say about it
    task = judging.next_task(session, slug, token, SystemRandom())
    return Desk(raters.describe(session, slug, token), task, judged)


async def _back(slug: str, database: Database, work: Callable[[Session], object], query: str = "") -> Response:
    """Do what a form asks for and lead back to the page, which says what became of it."""
    try:
        await database.write(work)
    except (ConflictError, NotFoundError, BadRequestError, ForbiddenError) as error:
        if error.code in ("study_not_found", "other_study"):
            raise
        query = f"notice={error.code or 'incomplete'}"
    return see_other(f"/rate/{slug}?{query}" if query else f"/rate/{slug}")
