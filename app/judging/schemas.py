"""The JSON of a rater's work. Nothing here says which system a reply is from, but what is revealed after the vote."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from app.studies.protocol import Anchored
from app.wire import Text, WireModel

Lease = Annotated[Text, Field(min_length=1, max_length=48)]
LONGEST_DWELL = 24 * 3600 * 1000


class ShownReply(BaseModel):
    """A reply as the rater sees it; `side` is null where it stands alone."""

    side: Literal["left", "right"] | None
    text: str


class AskedDimension(BaseModel):
    """A question with the meaning of its values 1, 3 and 5."""

    name: str
    anchors: dict[Anchored, str]


class Task(BaseModel):
    """One item in a rater's hands."""

    object: Literal["task"] = "task"
    lease: str
    expires: int
    kind: str
    messages: list[dict[str, str]]
    replies: list[ShownReply]
    choices: list[str]
    """What may be chosen; empty where dimensions are asked."""
    dimensions: list[AskedDimension]


class NextTask(BaseModel):
    """The rater's next task, or why there is none."""

    object: Literal["next"] = "next"
    task: Task | None
    reason: Literal["done", "wait", "daily_cap"] | None
    """done: the rater has met all there is; wait: the rest is in others' hands; daily_cap: enough for today."""
    retry_after: int | None
    """Seconds after which asking again makes sense."""
    judged: int


class JudgementRequest(WireModel):
    """A rater's verdict on what they hold: a choice, or a score on each dimension."""

    lease: Lease
    choice: Literal["left", "right", "tie", "both_bad", "human", "machine"] | None = None
    scores: dict[Annotated[Text, Field(max_length=64)], Annotated[int, Field(ge=1, le=5)]] | None = None
    dwell_ms: Annotated[int, Field(ge=0, le=LONGEST_DWELL)] | None = None
    """From the moment when all replies were shown; never believed beyond the time since the item was given out."""
    comment: Annotated[Text, Field(max_length=4000)] | None = None


class Revealed(BaseModel):
    """Whose reply it was."""

    side: Literal["left", "right"] | None
    system: str
    kind: str
    best_of: int | None = None
    """How many candidates the discriminator chose from, if it did."""


class Judged(BaseModel):
    """A verdict that is stored."""

    object: Literal["judgement"] = "judgement"
    lease: str
    judgement_ids: list[int]
    judged: int
    reveal: list[Revealed] | None


class SkipRequest(WireModel):
    """A rater cannot judge what they hold."""

    lease: Lease
    reason: Literal["cannot_decide", "not_my_language", "offensive", "personal_data", "broken", "other"]


class Skipped(BaseModel):
    """An item that the rater will not meet again."""

    object: Literal["skipped"] = "skipped"
    lease: str
    reason: str


class FlagRequest(WireModel):
    """Something is wrong with the item itself; it can be judged or skipped all the same."""

    lease: Lease
    flag: Literal["offensive", "personal_data", "broken", "wrong_language", "other"]
    comment: Annotated[Text, Field(max_length=4000)] | None = None


class Flagged(BaseModel):
    """A flag that the study's owner will see."""

    object: Literal["flagged"] = "flagged"
    lease: str
    flag: str
