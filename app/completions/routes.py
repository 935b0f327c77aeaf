"""`/v1/completions`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.completions.schemas import TextCompletion, TextCompletionRequest
from app.completions.service import TextCompletionService
from app.disconnection import unless_gone

router = APIRouter(prefix="/v1", tags=["chat"])


async def _service(request: Request) -> TextCompletionService:
    return TextCompletionService(request.app.state.chat)


_STREAM = {"description": "The completion; with `stream`, its chunks.", "content": {"text/event-stream": {}}}


@router.post("/completions", response_model=TextCompletion, responses={200: _STREAM})
async def create_text_completion(
    body: TextCompletionRequest, request: Request, service: Annotated[TextCompletionService, Depends(_service)]
) -> TextCompletion | Response:
    """Answer prompts, whole or, one prompt with `stream`, as server-sent events."""
    if body.stream:
        return await unless_gone(request, service.stream(body))
    return await unless_gone(request, service.complete(body))
