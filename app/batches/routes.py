"""`/v1/batches`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request

from app.access.caller import Asking
from app.batches.schemas import BatchEntry, BatchesQuery, BatchList, BatchRequest
from app.batches.service import BatchService
from app.database import Reading
from app.wire import Text

router = APIRouter(prefix="/v1/batches", tags=["batches"])

BatchId = Annotated[Text, Path(max_length=64)]
IdempotencyKey = Annotated[str | None, Header()]


async def _service(request: Request) -> BatchService:
    service: BatchService = request.app.state.batches
    return service


Service = Annotated[BatchService, Depends(_service)]


@router.post("")
async def create_batch(
    body: BatchRequest, service: Service, caller: Asking, idempotency_key: IdempotencyKey = None
) -> BatchEntry:
    """Have every request of an uploaded file answered."""
    return await service.create(body, idempotency_key, caller)


@router.get("")
def list_batches(
    query: Annotated[BatchesQuery, Query()], session: Reading, service: Service, caller: Asking
) -> BatchList:
    """List the batches, newest first."""
    return service.list_batches(session, query, caller)


@router.get("/{batch_id}")
def get_batch(batch_id: BatchId, session: Reading, service: Service, caller: Asking) -> BatchEntry:
    """Tell how far a batch has come."""
    return service.get(session, batch_id, caller)


@router.post("/{batch_id}/cancel")
async def cancel_batch(batch_id: BatchId, service: Service, caller: Asking) -> BatchEntry:
    """Stop a batch; what is answered by then is kept."""
    return await service.cancel(batch_id, caller)
