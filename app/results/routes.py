"""`/v1/studies/{slug}/results` and `/v1/leaderboard`. Plain functions: what they compute must not hold up the loop."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from app.database import Database
from app.raters.routes import Slug
from app.results import service

router = APIRouter(prefix="/v1", tags=["results"])

LARGEST_ID = 2**63 - 1


async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


# Not a session: one that is open while an analysis is computed would keep raters from judging on SQLite.
Opened = Annotated[Database, Depends(_database)]
Analysis = Annotated[int | None, Query(ge=1, le=LARGEST_ID, description="a stored analysis instead of the newest")]


@router.get("/studies/{slug}/results")
def get_results(slug: Slug, database: Opened, analysis: Analysis = None) -> Response:
    """Analyse a study as it is now: systems with intervals, pairs, agreement, biases, excluded raters."""
    return _answer(service.study_results(database, slug, analysis))


@router.get("/leaderboard")
def get_leaderboard(database: Opened, analysis: Analysis = None) -> Response:
    """Compare all systems over all studies, thumbs beside."""
    return _answer(service.leaderboard(database, analysis))


def _answer(result: dict[str, Any]) -> Response:
    return Response(service.as_json(result), media_type="application/json")
