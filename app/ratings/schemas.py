"""The JSON of ratings."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from app.wire import Text, WireModel


def _up_or_down(value: int) -> int:
    # Not Literal[1, -1]: that lets true and 1.0 pass for 1.
    if value not in (1, -1):
        raise PydanticCustomError("thumb", "must be 1 or -1")
    return value


Reason = Literal[
    "relevant",
    "interesting",
    "natural",
    "funny",
    "helpful",
    "irrelevant",
    "senseless",
    "dull",
    "repetitive",
    "contradictory",
    "bad_language",
    "offensive",
    "untrue",
]
"""Why a thumb went up or down."""


class RatingRequest(WireModel):
    """A thumb on one served reply, or a value from 1 to 5 on one of the standard dimensions."""

    reply_id: Annotated[Text, Field(min_length=1, max_length=48)]
    thumb: Annotated[int | None, AfterValidator(_up_or_down)] = None
    dimension: Literal["sensible", "specific", "interesting", "consistent", "fluent", "human_like"] | None = None
    value: Annotated[int, Field(ge=1, le=5)] | None = None
    reasons: Annotated[list[Reason], Field(max_length=16)] = Field(default_factory=list)
    comment: Annotated[Text, Field(max_length=4000)] | None = None


class RatingEntry(BaseModel):
    """A stored rating."""

    id: int
    object: Literal["rating"] = "rating"
    created: int
    reply_id: str
    model: str
    thumb: int | None
    """Null for a value on a dimension."""
    dimension: str | None = None
    value: int | None = None
    reasons: list[str] = []
    comment: str | None
    supersedes: int | None
    """The earlier rating that this one replaces."""
    superseded_by: int | None
    """The later rating that replaces this one; null for the one that counts."""


class RatingList(BaseModel):
    """A page of ratings, oldest first; go on with `after` = `last_id` while there is more."""

    object: Literal["list"] = "list"
    data: list[RatingEntry]
    last_id: int | None
    has_more: bool
