"""`/docs`: the interface, made from the OpenAPI document that `/openapi.json` sends."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.pages.reference.view import reference_of
from app.pages.rendering import page

router = APIRouter(prefix="/docs")


@router.get("")
def show(request: Request) -> Response:
    """Show every operation and every schema."""
    return page(request, "reference.html", "reference", reference=reference_of(request.app.openapi()))
