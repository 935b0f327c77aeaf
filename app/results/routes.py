"""`/v1/studies/{slug}/results` and `/v1/leaderboard`: computed in a thread, then stored in turn with other writers."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.database import Database
from app.raters.routes import Slug
from app.results import service
from app.results.service import Analysis

router = APIRouter(prefix="/v1", tags=["results"])

LARGEST_ID = 2**63 - 1


async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


# Not a session: one that is open while an analysis is computed would keep raters from judging on SQLite.
Opened = Annotated[Database, Depends(_database)]
Number = Annotated[int | None, Query(ge=1, le=LARGEST_ID, description="a stored analysis instead of the newest")]


@router.get("/studies/{slug}/results")
async def get_results(slug: Slug, database: Opened, analysis: Number = None) -> Response:
    """Analyse a study as it is now: systems with intervals, pairs, agreement, biases, excluded raters."""
    return await _answer(database, lambda: service.study_results(database, slug, analysis))


@router.get("/leaderboard")
async def get_leaderboard(database: Opened, analysis: Number = None) -> Response:
    """Compare all systems over all studies, thumbs beside."""
    return await _answer(database, lambda: service.leaderboard(database, analysis))


async def _answer(database: Database, analyse: Callable[[], Analysis]) -> Response:
    analysis = await run_in_threadpool(analyse)
    if analysis.is_new:
        await database.write(lambda session: service.keep(session, analysis))
    return Response(service.as_json(analysis.entry()), media_type="application/json")
