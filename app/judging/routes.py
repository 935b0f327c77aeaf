"""A rater's routes. They write through `Database.write`, whose queue keeps SQLite's writers from starving."""

from random import SystemRandom
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.database import Database
from app.judging import service
from app.judging.schemas import Flagged, FlagRequest, Judged, JudgementRequest, NextTask, Skipped, SkipRequest
from app.raters.routes import Slug, Token

router = APIRouter(prefix="/v1/studies/{slug}", tags=["judging"])


async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


Work = Annotated[Database, Depends(_database)]


@router.get("/next")
async def next_task(slug: Slug, token: Token, database: Work, response: Response) -> NextTask:
    """Get the item to judge next; until it is judged or skipped, or its lease runs out, it stays the same one."""
    response.headers["Cache-Control"] = "no-store"
    return await database.write(lambda session: service.next_task(session, slug, token, SystemRandom()))


@router.post("/judgements", status_code=201)
async def judge(slug: Slug, body: JudgementRequest, token: Token, database: Work) -> Judged:
    """Judge what one holds; sent twice it counts once."""
    return await database.write(lambda session: service.judge(session, slug, token, body))


@router.post("/skip")
async def skip(slug: Slug, body: SkipRequest, token: Token, database: Work) -> Skipped:
    """Leave what one holds to others."""
    return await database.write(lambda session: service.skip(session, slug, token, body))


@router.post("/flag")
async def flag(slug: Slug, body: FlagRequest, token: Token, database: Work) -> Flagged:
    """Say that something is wrong with an item itself."""
    return await database.write(lambda session: service.flag(session, slug, token, body))
