"""Whether the process lives, and whether it can serve."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from app.database import Database
from app.errors import UnavailableError, detail
from app.generation import Generation
from app.models import Models

router = APIRouter(prefix="/health", tags=["health"])


class Alive(BaseModel):
    """The process answers."""

    status: str = "alive"


@router.get("/live")
async def live() -> Alive:
    """Answer as long as the event loop turns."""
    return Alive()


async def _report(request: Request) -> dict[str, Any]:
    models: Models = request.app.state.models
    database: Database = request.app.state.database
    try:
        await database.read(lambda session: session.execute(select(1)))
        answers = True
    except SQLAlchemyError:
        answers = False
    generation: Generation = request.app.state.generation
    reasons = []
    if generation.draining or request.app.state.leaving:
        reasons.append("the service is stopping")
    if not generation.has_engine:
        reasons.append("no engine is running")
    if not models.names:
        reasons.append("no model is loaded")
    if not answers:
        reasons.append("the database does not answer")
    return {
        "status": "not ready" if reasons else "ready",
        "reasons": reasons,
        "models": models.names,
        "broken_models": dict(models.broken),
        "database": "answers" if answers else "does not answer",
    }


@router.get("/ready")
async def ready(report: Annotated[dict[str, Any], Depends(_report)]) -> Response:
    """Answer 200 when a model is loaded and the database answers, else 503 and why not."""
    if not report["reasons"]:
        return JSONResponse(report)
    error = UnavailableError("not ready: " + ", ".join(report["reasons"]), code="not_ready")
    return JSONResponse({**detail(error), **report}, status_code=error.status)
