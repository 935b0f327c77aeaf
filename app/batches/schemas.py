"""The JSON of batches: OpenAI's field names, and `seed`, which is ours."""

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from app.chat.schemas import CompletionRequest
from app.chat.service import DRAWN_SEEDS
from app.wire import Text, WireModel

ENDPOINT = "/v1/chat/completions"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=30)


def window_of(text: str) -> timedelta | None:
    """Return how long `24h` or `90m` is; None when it is no such length."""
    found = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", text)
    if found is None:
        return None
    window = timedelta(**{_UNITS[found[2]]: int(found[1])})
    return window if window <= _LONGEST else None


def _window(text: str) -> str:
    if window_of(text) is None:
        raise PydanticCustomError("completion_window", "must be a number and s, m, h or d, such as 24h, at most 30d")
    return text


class BatchRequest(WireModel):
    """A file to be worked through."""

    input_file_id: Annotated[Text, Field(max_length=64)]
    endpoint: Annotated[Text, Field(max_length=64)]
    completion_window: Annotated[Text, Field(max_length=16), AfterValidator(_window)]
    metadata: (
        Annotated[
            dict[Annotated[Text, Field(max_length=64)], Annotated[Text, Field(max_length=512)]], Field(max_length=16)
        ]
        | None
    ) = None
    seed: Annotated[int, Field(ge=0, lt=DRAWN_SEEDS)] | None = None
    """A line without a seed of its own is drawn with this one + its number."""


class LineRequest(WireModel):
    """One line of the file."""

    custom_id: Annotated[Text, Field(min_length=1, max_length=255)]
    method: Literal["POST"]
    url: Literal["/v1/chat/completions"]
    body: CompletionRequest


class RequestCounts(BaseModel):
    """How far it has come, in lines."""

    total: int
    completed: int
    failed: int


class BatchFault(BaseModel):
    """Why a batch was not begun."""

    code: str
    line: int | None = None
    message: str
    param: str | None = None


class BatchFaults(BaseModel):
    """All that is wrong with the file as a whole."""

    object: Literal["list"] = "list"
    data: list[BatchFault]


class BatchEntry(BaseModel):
    """A batch."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    errors: BatchFaults | None
    input_file_id: str
    completion_window: str
    status: str
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    metadata: dict[str, str] | None
    seed: int


class BatchList(BaseModel):
    """A page of the batches, newest first."""

    object: Literal["list"] = "list"
    data: list[BatchEntry]
    first_id: str | None
    last_id: str | None
    has_more: bool


class BatchesQuery(BaseModel):
    """Which page of the batches."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    after: Annotated[Text, Field(max_length=64)] | None = None
