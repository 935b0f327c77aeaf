"""`/v1/files`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import FileResponse

from app.access.caller import Asking
from app.database import Reading
from app.files.schemas import DeletedFile, FileEntry, FileList, FilesQuery
from app.files.service import FileService
from app.wire import Text

router = APIRouter(prefix="/v1/files", tags=["files"])

FileId = Annotated[Text, Path(max_length=64)]


async def _service(request: Request) -> FileService:
    service: FileService = request.app.state.files
    return service


Service = Annotated[FileService, Depends(_service)]


_MEDIA_TYPE = "application/jsonl"
_FORM = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {"file": {"type": "string", "format": "binary"}, "purpose": {"type": "string", "enum": ["batch"]}},
}


@router.post("", openapi_extra={"requestBody": {"content": {"multipart/form-data": {"schema": _FORM}}}})
async def upload_file(request: Request, service: Service, caller: Asking) -> FileEntry:
    """Store a file of requests, sent as a form with `file` and `purpose=batch`."""
    return await service.upload(request, caller)


@router.get("")
def list_files(query: Annotated[FilesQuery, Query()], session: Reading, service: Service, caller: Asking) -> FileList:
    """List the files, newest first."""
    return service.list_files(session, query, caller)


@router.get("/{file_id}")
def get_file(file_id: FileId, session: Reading, service: Service, caller: Asking) -> FileEntry:
    """Describe a file."""
    return service.get(session, file_id, caller)


@router.get(
    "/{file_id}/content",
    response_class=FileResponse,
    responses={200: {"description": "The content.", "content": {_MEDIA_TYPE: {}}}},
)
def get_content(file_id: FileId, session: Reading, service: Service, caller: Asking) -> FileResponse:
    """Send a file's content."""
    return FileResponse(service.content(session, file_id, caller), media_type=_MEDIA_TYPE)


@router.delete("/{file_id}")
async def delete_file(file_id: FileId, service: Service, caller: Asking) -> DeletedFile:
    """Delete a file."""
    return await service.delete(file_id, caller)
