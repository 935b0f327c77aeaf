"""`/v1/exports/{kind}`."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from app.exports import service
from app.exports.schemas import MEDIA_TYPES, Format, Kind
from app.results.routes import Opened
from app.wire import Text

router = APIRouter(prefix="/v1/exports", tags=["exports"])


_CONTENT = {"description": "The rows.", "content": {media_type: {} for media_type in MEDIA_TYPES.values()}}


@router.get("/{kind}", response_class=StreamingResponse, responses={200: _CONTENT})
def export(
    kind: Kind,
    database: Opened,
    format: Annotated[Format, Query()] = "jsonl",  # noqa: A002 - the parameter's name is what clients send
    study: Annotated[Text | None, Query(max_length=64)] = None,
) -> StreamingResponse:
    """Send judgements, battles, preferences or thumbs as JSON lines, CSV or Parquet."""
    return StreamingResponse(
        service.export(database, kind, format, study),
        media_type=MEDIA_TYPES[format],
        headers={"Content-Disposition": f'attachment; filename="{kind}.{format}"'},
    )
