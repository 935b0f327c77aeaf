"""`/board`: the analysis of everything, or of one study."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.exports.schemas import COLUMNS, MEDIA_TYPES
from app.pages.board.view import agreement_fault, board_view
from app.pages.forms import query_of
from app.pages.rendering import language_of, page
from app.pages.words import words_of
from app.results import service
from app.results.routes import Opened
from app.results.service import Analysis
from app.studies import service as studies
from app.studies.schemas import StudyEntry
from app.wire import Text

router = APIRouter()


class Shown(BaseModel):
    """Which study; none means all of them and the thumbs."""

    model_config = ConfigDict(extra="ignore")

    study: Annotated[Text, Field(max_length=64)] = ""


@router.get("/board")
async def show(request: Request, shown: Annotated[Shown, Depends(query_of(Shown))], database: Opened) -> Response:
    """Show who is preferred."""
    analysis = await run_in_threadpool(
        lambda: service.study_results(database, shown.study) if shown.study else service.leaderboard(database)
    )

    def finish(session: Session) -> tuple[Analysis, list[StudyEntry]]:
        if analysis.is_new:
            service.keep(session, analysis)
        return analysis, [one for one in studies.list_studies(session).data if one.status != "draft"]

    found, known = await (database.write(finish) if analysis.is_new else database.read(finish))
    words = words_of("board", language_of(request))
    view = board_view(found.entry(), words)
    return page(
        request,
        "board.html",
        "board",
        view=view,
        entry=view.entry,
        studies=known,
        study=shown.study,
        agreement_fault=lambda one: agreement_fault(one, words),
        kinds=list(COLUMNS),
        formats=list(MEDIA_TYPES),
    )
