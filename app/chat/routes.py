"""`/v1/chat/completions`, `/v1/replies` and `/v1/models`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from app.chat.schemas import Completion, CompletionRequest, ModelEntry, ModelList, Replies, RepliesRequest
from app.chat.service import ChatService
from app.disconnection import unless_gone

router = APIRouter(prefix="/v1", tags=["chat"])


async def _service(request: Request) -> ChatService:
    service: ChatService = request.app.state.chat
    return service


Service = Annotated[ChatService, Depends(_service)]


@router.post("/chat/completions")
async def create_completion(body: CompletionRequest, request: Request, service: Service) -> Completion:
    """Answer a history of messages."""
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
