"""Whether the process lives, and whether it can serve: each thing that this needs is checked by name."""

import os
import shutil
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from app.database import Database
from app.errors import UnavailableError, detail
from app.generation import Generation
from app.migration import newest_revision, revision_of
from app.models import Models
from app.settings import Settings

FREE_BYTES: Final = 64 * 2**20
"""Less on the disk of the state directory, and the service says that it is not ready before it fails."""

router = APIRouter(prefix="/health", tags=["health"])


class Alive(BaseModel):
    """The process answers."""

    status: str = "alive"


class Check(BaseModel):
    """One thing that serving needs; `reason` says why it is not there."""

    name: str
    ok: bool
    reason: str | None = None


@router.get("/live")
async def live() -> Alive:
    """Answer as long as the event loop turns."""
    return Alive()


async def _report(request: Request) -> dict[str, Any]:
    models: Models = request.app.state.models
    database: Database = request.app.state.database
    generation: Generation = request.app.state.generation
    settings: Settings = request.app.state.settings
    leaving = generation.draining or request.app.state.leaving
    revision: str | None = None
    try:
        revision = await database.read(_revision)
        answers = True
    except SQLAlchemyError:
        answers = False
    newest = await run_in_threadpool(newest_revision)  # read from files the first time
    checks = [
        _check("accepting", not leaving, "the service is stopping"),
        _check("engines", generation.has_engine, "no engine is running"),
        _check("models", bool(models.names), "no model is loaded"),
        _check("database", answers, "the database does not answer"),
        # Not known while it does not answer: that is one reason, not two.
        _check("migrations", not answers or revision == newest, f"the database's schema is {revision}, not {newest}"),
        Check(name="disk", ok=True),
    ]
    fault = await run_in_threadpool(fault_of_folder, settings.state)
    if fault is not None:
        checks[-1] = Check(name="disk", ok=False, reason=fault)
    reasons = [one.reason for one in checks if not one.ok]
    return {
        "status": "not ready" if reasons else "ready",
        "reasons": reasons,
        "checks": [one.model_dump() for one in checks],
        "models": models.names,
        "broken_models": dict(models.broken),
        "database": "answers" if answers else "does not answer",
    }


def fault_of_folder(folder: Path) -> str | None:
    """Return why nothing could be written to `folder`, or to where it will be made; None when it could."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return "a file is in the way of the state directory"
    if not os.access(there, os.W_OK | os.X_OK):
        return "the state directory cannot be written"
    free = shutil.disk_usage(there).free
    if free < FREE_BYTES:
        return f"the disk of the state directory has {free // 2**20} MiB left, {FREE_BYTES // 2**20} are needed"
    return None


def _check(name: str, ok: bool, reason: str) -> Check:
    return Check(name=name, ok=ok, reason=None if ok else reason)


def _revision(session: Session) -> str | None:
    return revision_of(session.connection())


@router.get("/ready")
async def ready(report: Annotated[dict[str, Any], Depends(_report)]) -> Response:
    """Answer 200 when a model is loaded and all that serving needs is there, else 503 and what is not."""
    if not report["reasons"]:
        return JSONResponse(report)
    error = UnavailableError("not ready: " + ", ".join(report["reasons"]), code="not_ready")
    return JSONResponse({**detail(error), **report}, status_code=error.status)
