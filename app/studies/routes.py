"""`/v1/studies` for their owner."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request

from app.database import Reading, Writing
from app.disconnection import unless_gone
from app.raters.routes import Slug
from app.studies import service
from app.studies.filling import StudyFilling
from app.studies.schemas import (
    LARGEST_ID,
    ItemList,
    ItemsAdded,
    ItemsRequest,
    Progress,
    StudyEntry,
    StudyList,
    StudyRequest,
)

router = APIRouter(prefix="/v1/studies", tags=["studies"])

IdempotencyKey = Annotated[str | None, Header()]


async def _filling(request: Request) -> StudyFilling:
    filling: StudyFilling = request.app.state.filling
    return filling


@router.post("", status_code=201)
def create_study(body: StudyRequest, session: Writing, idempotency_key: IdempotencyKey = None) -> StudyEntry:
    """Draft a study."""
    return service.create(session, body, idempotency_key)


@router.get("")
def list_studies(session: Reading) -> StudyList:
    """List all studies, newest first."""
    return service.list_studies(session)


@router.get("/{slug}")
def get_study(slug: Slug, session: Reading) -> StudyEntry:
    """Describe a study."""
    return service.get(session, slug)


@router.delete("/{slug}", status_code=204)
def delete_draft(slug: Slug, session: Writing) -> None:
    """Delete a draft; a study that ran can only be closed."""
    service.delete_draft(session, slug)


@router.post("/{slug}/items", status_code=201)
async def add_items(
    slug: Slug,
    body: ItemsRequest,
    request: Request,
    filling: Annotated[StudyFilling, Depends(_filling)],
    idempotency_key: IdempotencyKey = None,
) -> ItemsAdded:
    """Add items to a draft: systems x contexts by a balanced design, A/A pairs, and gold. All of them or none."""
    return await unless_gone(request, filling.add_items(slug, body, idempotency_key))


@router.get("/{slug}/items")
def list_items(
    slug: Slug,
    session: Reading,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[int, Query(ge=0, le=LARGEST_ID)] = 0,
) -> ItemList:
    """List items with their systems: not for raters' eyes."""
    return service.list_items(session, slug, limit=limit, after=after)


@router.post("/{slug}/items/{item_id}/withdraw", status_code=204)
def withdraw(slug: Slug, item_id: Annotated[int, Path(ge=1, le=LARGEST_ID)], session: Writing) -> None:
    """Give an item to nobody any more."""
    service.withdraw(session, slug, item_id)


@router.post("/{slug}/start")
def start(slug: Slug, session: Writing) -> StudyEntry:
    """Freeze a draft and open it to its raters."""
    return service.start(session, slug)


@router.get("/{slug}/progress")
def progress(slug: Slug, session: Reading) -> Progress:
    """Say how far a study is."""
    return service.progress(session, slug)


@router.post("/{slug}/close")
def close(slug: Slug, session: Writing) -> StudyEntry:
    """End a study."""
    return service.close(session, slug)
