"""Batches as their clients see them: made, looked at, cancelled."""

import uuid
from datetime import datetime

from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.batches import repository
from app.batches.runs import BatchRuns
from app.batches.schemas import (
    ENDPOINT,
    BatchEntry,
    BatchesQuery,
    BatchFault,
    BatchFaults,
    BatchList,
    BatchRequest,
    RequestCounts,
    window_of,
)
from app.batches.tables import Batch
from app.batches.work import BatchWork
from app.chat.service import first_seed
from app.database import Database, now
from app.errors import BadRequestError, ConflictError, NotFoundError
from app.files import repository as files
from app.idempotency import once

CREATE = "POST /v1/batches"


class BatchService:
    """Takes batches and hands them to those who run them."""

    def __init__(self, database: Database, work: BatchWork, runs: BatchRuns) -> None:
        self._database = database
        self._work = work
        self._runs = runs

    async def create(self, body: BatchRequest, idempotency_key: str | None, caller: Caller) -> BatchEntry:
        """Store a new batch and have it worked at. Raises BadRequestError, or NotFoundError for the file."""
        # Two keys' clients may have chosen the same word.
        route = CREATE if caller.key_id is None else f"{CREATE} of key {caller.key_id}"
        entry = await self._database.write(
            lambda session: once(
                session, route, idempotency_key, body, BatchEntry, lambda: _entry(_create(session, body, caller))
            )
        )
        await self._runs.begin(entry.id)
        return entry

    def list_batches(self, session: Session, query: BatchesQuery, caller: Caller) -> BatchList:
        """Return a page of the caller's batches. Raises NotFoundError when the one that it follows is not there."""
        after = None if query.after is None else _found(session, query.after, caller, "after")
        found = repository.page(session, after, query.limit + 1, caller.owner_ids)
        data = [_entry(batch) for batch in found[: query.limit]]
        return BatchList(
            data=data,
            first_id=data[0].id if data else None,
            last_id=data[-1].id if data else None,
            has_more=len(found) > query.limit,
        )

    def get(self, session: Session, batch_id: str, caller: Caller) -> BatchEntry:
        """Return a batch. Raises NotFoundError, for another's batch as well."""
        return _entry(_found(session, batch_id, caller))

    async def cancel(self, batch_id: str, caller: Caller) -> BatchEntry:
        """Have a batch stop; what is answered is kept. Raises NotFoundError, or ConflictError when it has ended."""
        entry = await self._database.write(lambda session: _cancel(session, batch_id, caller))
        self._work.stop(batch_id)
        return entry


def _create(session: Session, body: BatchRequest, caller: Caller) -> Batch:
    if body.endpoint != ENDPOINT:
        raise BadRequestError(f"endpoint: is {body.endpoint!r}, expected {ENDPOINT!r}", param="endpoint")
    file = files.get(session, body.input_file_id, lock=True)  # it is not deleted before the batch is there
    if file is None or not caller.owns(file.owner_id):
        raise NotFoundError(
            f"input_file_id: there is no file {body.input_file_id!r}", param="input_file_id", code="file_not_found"
        )
    if file.purpose != "batch":
        raise BadRequestError(
            f"input_file_id: the file's purpose is {file.purpose!r}, expected 'batch'", param="input_file_id"
        )
    window = window_of(body.completion_window)
    assert window is not None, "the schema has checked it"
    created_at = now()
    batch = Batch(
        id=f"batch_{uuid.uuid4().hex}",
        endpoint=body.endpoint,
        input_file_id=file.id,
        completion_window=body.completion_window,
        labels=body.metadata,
        seed=first_seed(body.seed),
        status="validating",
        total=0,
        completed=0,
        failed=0,
        created_at=created_at,
        expires_at=created_at + window,
        owner_id=caller.key_id,
    )
    session.add(batch)
    session.flush()
    return batch


def _cancel(session: Session, batch_id: str, caller: Caller) -> BatchEntry:
    batch = _found(session, batch_id, caller, lock=True)
    if batch.status in ("validating", "in_progress"):
        batch.status = "cancelling"
        batch.cancelling_at = now()
    elif batch.status != "cancelling":
        raise ConflictError(f"a batch that is {batch.status} cannot be cancelled", code="batch_not_cancellable")
    return _entry(batch)


def _found(session: Session, batch_id: str, caller: Caller, param: str | None = None, *, lock: bool = False) -> Batch:
    batch = repository.get(session, batch_id, lock=lock)
    if batch is None or not caller.owns(batch.owner_id):
        raise NotFoundError(f"there is no batch {batch_id[:100]!r}", param=param, code="batch_not_found")
    return batch


def _entry(batch: Batch) -> BatchEntry:
    def ended_as(status: str) -> int | None:
        return _seconds(batch.ended_at) if batch.status == status else None

    faults = [BatchFault.model_validate(fault) for fault in batch.faults or ()]
    return BatchEntry(
        id=batch.id,
        endpoint=batch.endpoint,
        errors=BatchFaults(data=faults) if faults else None,
        input_file_id=batch.input_file_id,
        completion_window=batch.completion_window,
        status=batch.status,
        output_file_id=batch.output_file_id,
        error_file_id=batch.error_file_id,
        created_at=int(batch.created_at.timestamp()),
        in_progress_at=_seconds(batch.in_progress_at),
        expires_at=int(batch.expires_at.timestamp()),
        finalizing_at=_seconds(batch.finalizing_at),
        completed_at=ended_as("completed"),
        failed_at=ended_as("failed"),
        expired_at=ended_as("expired"),
        cancelling_at=_seconds(batch.cancelling_at),
        cancelled_at=ended_as("cancelled"),
        request_counts=RequestCounts(total=batch.total, completed=batch.completed, failed=batch.failed),
        metadata=batch.labels,
        seed=batch.seed,
    )


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
