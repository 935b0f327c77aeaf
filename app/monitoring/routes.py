"""`/metrics`, for Prometheus. It tells names of models and numbers; the proxy before the service keeps it inside."""

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from app.monitoring.service import Monitoring

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Tell what the service is doing, in Prometheus's text format."""
    monitoring: Monitoring = request.app.state.monitoring
    return Response(await monitoring.tell(), media_type=CONTENT_TYPE_LATEST)
