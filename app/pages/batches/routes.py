"""`/batches`: upload a file of requests, watch, cancel, download the answers."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.access.caller import Asking, Caller
from app.batches.schemas import ENDPOINT, BatchesQuery, BatchRequest
from app.batches.service import BatchService
from app.database import Reading
from app.errors import ConflictError, ServiceError
from app.files.schemas import FilesQuery
from app.files.service import FileService
from app.judging.routes import Work
from app.pages.forms import query_of, refuse_foreign, see_other
from app.pages.rendering import page
from app.wire import Text

router = APIRouter(prefix="/batches")

WINDOW = "24h"
SHOWN = 50
UNDER_WAY = ("validating", "in_progress", "finalizing", "cancelling")


async def _batches(request: Request) -> BatchService:
    service: BatchService = request.app.state.batches
    return service


async def _files(request: Request) -> FileService:
    service: FileService = request.app.state.files
    return service


class Sent(BaseModel):
    """Which form was sent: made anew for each that is shown, so that sent twice it begins one batch."""

    model_config = ConfigDict(extra="ignore")

    once: Annotated[Text, Field(max_length=64)] = ""


Batches = Annotated[BatchService, Depends(_batches)]
Files = Annotated[FileService, Depends(_files)]


async def _ours(request: Request) -> None:
    refuse_foreign(request)


@router.get("")
def show(request: Request, session: Reading, batches: Batches, files: Files, caller: Asking) -> Response:
    """Show the batches and how far they are."""
    return _overview(request, session, batches, files, caller)


@router.post("", dependencies=[Depends(_ours)])
async def begin(
    request: Request,
    sent: Annotated[Sent, Depends(query_of(Sent))],
    batches: Batches,
    files: Files,
    database: Work,
    caller: Asking,
) -> Response:
    """Store a file and have it worked through; what is wrong with it is said on the page."""
    try:
        file = await files.upload(request, caller)
        key = f"page/{sent.once}/{file.bytes}/{file.filename}"[:255] if sent.once else None
        body = BatchRequest(input_file_id=file.id, endpoint=ENDPOINT, completion_window=WINDOW)
        try:
            await batches.create(body, key, caller)
        except ConflictError:
            await files.delete(file.id, caller)  # the second click of a double click: the first one is worked at
    except ServiceError as error:
        fault = error
        return await database.read(lambda session: _overview(request, session, batches, files, caller, fault))
    return see_other("/batches")


@router.post("/{batch_id}/cancel", dependencies=[Depends(_ours)])
async def cancel(
    request: Request,
    batch_id: Annotated[Text, Path(max_length=64)],
    batches: Batches,
    files: Files,
    database: Work,
    caller: Asking,
) -> Response:
    """Stop a batch; what is answered by then is kept."""
    try:
        await batches.cancel(batch_id, caller)
    except ConflictError as error:
        fault = error
        return await database.read(lambda session: _overview(request, session, batches, files, caller, fault))
    return see_other("/batches")


def _overview(
    request: Request,
    session: Session,
    batches: BatchService,
    files: FileService,
    caller: Caller,
    fault: ServiceError | None = None,
) -> Response:
    found = batches.list_batches(session, BatchesQuery(limit=SHOWN), caller).data
    names = {file.id: file.filename for file in files.list_files(session, FilesQuery(), caller).data}
    return page(
        request,
        "batches.html",
        "batches",
        status=200 if fault is None else fault.status,
        batches=found,
        names=names,
        under_way=UNDER_WAY,
        fault=fault,
        once=uuid.uuid4().hex,
        model=next(iter(request.app.state.models.names), "MODEL"),
    )
