"""`/v1/chat/completions`, `/v1/replies` and `/v1/models`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.chat.schemas import (
    Completion,
    CompletionRequest,
    ModelEntry,
    ModelList,
    ReloadedModels,
    Replies,
    RepliesRequest,
)
from app.chat.service import ChatService
from app.chat.streaming import CompletionEvents
from app.disconnection import unless_gone

router = APIRouter(prefix="/v1", tags=["chat"])


async def _service(request: Request) -> ChatService:
    service: ChatService = request.app.state.chat
    return service


Service = Annotated[ChatService, Depends(_service)]


_STREAM = {"description": "The completion; with `stream`, its chunks.", "content": {"text/event-stream": {}}}


@router.post("/chat/completions", response_model=Completion, responses={200: _STREAM})
async def create_completion(body: CompletionRequest, request: Request, service: Service) -> Completion | Response:
    """Answer a history of messages, whole or, with `stream`, as server-sent events."""
    if body.stream:
        return CompletionEvents(service, body, await unless_gone(request, service.stream(body)))
    return await unless_gone(request, service.complete(body))


@router.post("/replies")
async def create_replies(body: RepliesRequest, request: Request, service: Service) -> Replies:
    """Answer a list of contexts together."""
    return await unless_gone(request, service.reply(body))


@router.get("/models")
async def list_models(service: Service) -> ModelList:
    """List the loaded models."""
    return service.list_models()


@router.get("/models/{model}")
async def get_model(model: str, service: Service) -> ModelEntry:
    """Describe one loaded model."""
    return service.get_model(model)


@router.post("/models/reload")
async def reload_models(service: Service) -> ReloadedModels:
    """Load the models' directory anew; no request in work is lost."""
    return await service.reload()
