"""Files in and out: what may be uploaded, and what may be deleted."""

from pathlib import Path

from fastapi import Request
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from app.access.caller import Caller
from app.database import Database
from app.errors import BadRequestError, ConflictError, NotFoundError, UnavailableError
from app.files import repository
from app.files.schemas import DeletedFile, FileEntry, FileList, FilesQuery
from app.files.storage import Storage, new_file_id
from app.files.tables import StoredFile
from app.files.upload import Form, read_upload
from app.settings import Settings

_FIELDS = ("purpose", "expires_after[anchor]", "expires_after[seconds]")


class FileService:
    """Takes files, gives them back."""

    def __init__(self, storage: Storage, database: Database, settings: Settings) -> None:
        self._storage = storage
        self._database = database
        self._limit = settings.max_file_bytes

    async def upload(self, request: Request, caller: Caller) -> FileEntry:
        """Store the file that `request` brings as the caller's own.

        Raises BadRequestError or TooLargeError for one that is refused, UnavailableError when the disk fails.
        """
        file_id = new_file_id()
        try:
            with self._storage.draft() as draft:
                form = await read_upload(request, draft.write, self._limit)
                filename = _check(form)
                if draft.size == 0:
                    raise BadRequestError("file: is empty", param="file", code="empty_file")
                await run_in_threadpool(draft.flush)
                self._storage.keep(draft, file_id)
        except OSError as error:
            raise UnavailableError(f"the file cannot be stored ({error.strerror})", code="storage") from error
        try:
            return await self._database.write(
                lambda session: _entry(repository.add(session, file_id, "batch", filename, draft.size, caller.key_id))
            )
        except BaseException:
            self._storage.remove(file_id)
            raise

    def list_files(self, session: Session, query: FilesQuery, caller: Caller) -> FileList:
        """Return a page of the caller's files. Raises NotFoundError when the one that it follows is not there."""
        after = None if query.after is None else _found(session, query.after, caller, "after")
        found = repository.page(
            session,
            after,
            query.limit + 1,
            query.purpose,
            newest_first=query.order == "desc",
            owner_ids=caller.owner_ids,
        )
        data = [_entry(file) for file in found[: query.limit]]
        return FileList(
            data=data,
            first_id=data[0].id if data else None,
            last_id=data[-1].id if data else None,
            has_more=len(found) > query.limit,
        )

    def get(self, session: Session, file_id: str, caller: Caller) -> FileEntry:
        """Return what is known of a file. Raises NotFoundError, for another's file as well."""
        return _entry(_found(session, file_id, caller))

    def content(self, session: Session, file_id: str, caller: Caller) -> Path:
        """Return where the content of a file lies. Raises NotFoundError."""
        path = self._storage.path(_found(session, file_id, caller).id)
        if not path.is_file():  # the state directory is not the one that the database belongs to
            raise NotFoundError(f"the content of {file_id} is not on this machine", code="content_not_found")
        return path

    async def delete(self, file_id: str, caller: Caller) -> DeletedFile:
        """Delete a file. Raises NotFoundError, or ConflictError while a batch reads it."""

        def delete(session: Session) -> None:
            file = _found(session, file_id, caller, lock=True)
            if repository.is_needed(session, file_id):
                raise ConflictError(f"{file_id} is the input of a batch that is not finished", code="file_in_use")
            session.delete(file)

        await self._database.write(delete)
        await run_in_threadpool(self._storage.remove, file_id)
        return DeletedFile(id=file_id)


def _found(
    session: Session, file_id: str, caller: Caller, param: str | None = None, *, lock: bool = False
) -> StoredFile:
    file = repository.get(session, file_id, lock=lock)
    if file is None or not caller.owns(file.owner_id):
        raise NotFoundError(f"there is no file {file_id[:100]!r}", param=param, code="file_not_found")
    return file


def _check(form: Form) -> str:
    """Return the file's name. Raises BadRequestError."""
    unknown = next((name for name in form.fields if name not in _FIELDS), None)
    if unknown is not None:
        raise BadRequestError(
            f"{unknown[:100]}: is not a parameter of this call", param=unknown[:100], code="extra_forbidden"
        )
    purpose = form.fields.get("purpose")
    if purpose != "batch":
        found = "is required" if purpose is None else f"is {purpose[:100]!r}, expected 'batch'"
        raise BadRequestError(f"purpose: {found}", param="purpose", code="invalid_purpose")
    if any(form.fields.get(name) for name in _FIELDS[1:]):
        raise BadRequestError(
            "expires_after: is not supported by this server", param="expires_after", code="unsupported_parameter"
        )
    name = "".join(character if character.isprintable() else " " for character in form.filename or "")
    return name.strip()[-255:] or "unnamed"


def _entry(file: StoredFile) -> FileEntry:
    return FileEntry(
        id=file.id,
        bytes=file.bytes,
        created_at=int(file.created_at.timestamp()),
        filename=file.filename,
        purpose=file.purpose,
    )
