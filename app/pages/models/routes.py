"""`/models` and `/models/{name}`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.chat.service import ChatService
from app.pages.board.view import system_names
from app.pages.forms import query_of
from app.pages.models.run_files import read_info, read_run
from app.pages.models.view import compare_samples, quality_figure, scored, training_figures
from app.pages.rendering import language_of, page
from app.pages.words import words_of
from app.results import service
from app.results.routes import Opened
from app.settings import Settings
from app.wire import Text

router = APIRouter(prefix="/models")

Checkpoint = Annotated[Text, Field(max_length=100)]


class Chosen(BaseModel):
    """Two checkpoints whose samples are compared; by default the first and the last."""

    model_config = ConfigDict(extra="ignore")

    first: Checkpoint = ""
    second: Checkpoint = ""


@router.get("")
async def show_all(request: Request, database: Opened) -> Response:
    """Show the loaded models, their metrics beside what people say."""
    chat: ChatService = request.app.state.chat
    settings: Settings = request.app.state.settings
    analysis = await run_in_threadpool(service.leaderboard, database)
    if analysis.is_new:
        await database.write(lambda session: service.keep(session, analysis))
    board = analysis.entry()
    names = system_names(board["systems"], words_of("models", language_of(request)))
    board["systems"] = [{**one, "label": name} for one, name in zip(board["systems"], names, strict=True)]
    rows = await run_in_threadpool(
        lambda: [scored(one.name, one.digest, read_info(settings.models, one.name), board) for one in chat.models]
    )
    return page(
        request,
        "models/all.html",
        "models",
        models=chat.list_models().data,
        broken=list(chat.models.broken),
        rows=rows,
    )


@router.get("/{name}")
def show(request: Request, name: str, chosen: Annotated[Chosen, Depends(query_of(Chosen))]) -> Response:
    """Show a model's card, how it was trained, and what it said on the way."""
    chat: ChatService = request.app.state.chat
    settings: Settings = request.app.state.settings
    entry = chat.get_model(name)
    run = read_run(settings.models, name)
    words = words_of("models", language_of(request))
    checkpoints = list(run.samples)
    first = chosen.first if chosen.first in checkpoints else next(iter(checkpoints), "")
    second = chosen.second if chosen.second in checkpoints else next(reversed(checkpoints), "")
    return page(
        request,
        "models/model.html",
        "models",
        model=entry,
        figures=training_figures(run, words),
        quality=quality_figure(run.report, words),
        checkpoints=checkpoints,
        first=first,
        second=second,
        samples=compare_samples(run.samples, first, second),
    )
