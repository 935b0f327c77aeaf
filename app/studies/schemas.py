"""The JSON of studies as their owner sees them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from app.chat.schemas import Sampling
from app.studies.protocol import Protocol
from app.wire import Text, WireModel

LARGEST_ID = 2**63 - 1

Turns = Annotated[list[Text], Field(min_length=1)]


class SystemSpec(Sampling):
    """One of the systems compared: a loaded model with its decoding, the humans, or ready replies under a name."""

    kind: Literal["model", "human", "replies"]
    model: Annotated[Text, Field(min_length=1, max_length=255)] | None = None
    name: Annotated[Text, Field(min_length=1, max_length=255)] | None = None
    """Of kind `replies`: the name that the contexts' `replies` use."""


class ContextSpec(WireModel):
    """One context, with the reply that a human gave to it and those that other systems gave."""

    turns: Turns
    reply: Text | None = None
    replies: dict[Text, Text] = Field(default_factory=dict)
    source: Annotated[Text, Field(max_length=255)] | None = None
    split: Annotated[Text, Field(max_length=16)] | None = None


class GoldAnswer(WireModel):
    """The answer that is right: a choice, or a dimension with the values that pass."""

    choice: Literal["a", "b", "tie", "both_bad", "human", "machine"] | None = None
    dimension: Annotated[Text, Field(max_length=64)] | None = None
    low: Annotated[int, Field(ge=1, le=5)] | None = None
    high: Annotated[int, Field(ge=1, le=5)] | None = None


class GoldSpec(WireModel):
    """An item whose answer is known: one reply, or two which are a and b."""

    turns: Turns
    replies: Annotated[list[Text], Field(min_length=1, max_length=2)]
    answer: GoldAnswer


class ItemsRequest(WireModel):
    """What a draft is to ask: systems x contexts by a balanced design, and gold."""

    systems: Annotated[list[SystemSpec], Field(max_length=50)] = Field(default_factory=list)
    contexts: Annotated[list[ContextSpec], Field(max_length=100_000)] = Field(default_factory=list)
    count: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Ordinary items; one for each context by default."""
    automatic_gold: Annotated[int, Field(ge=0, le=10_000)] = 0
    """So many contexts are kept for gold: the human reply beside, or in place of it, one to another context."""
    gold: Annotated[list[GoldSpec], Field(max_length=10_000)] = Field(default_factory=list)


class StudyRequest(WireModel):
    """A new study."""

    slug: Annotated[Text, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
    title: Annotated[Text, Field(min_length=1, max_length=255)]
    seed: Annotated[int, Field(ge=0, lt=2**53)] = 0
    protocol: Protocol


class StudyEntry(BaseModel):
    """A study."""

    object: Literal["study"] = "study"
    slug: str
    title: str
    status: str
    seed: int
    protocol: dict[str, Any]
    items: dict[str, int]
    """How many there are of each purpose."""
    created: int
    started: int | None
    closed: int | None


class StudyList(BaseModel):
    """All studies, newest first."""

    object: Literal["list"] = "list"
    data: list[StudyEntry]


class ItemsAdded(BaseModel):
    """What was added to a draft."""

    object: Literal["items_added"] = "items_added"
    normal: int
    aa: int
    gold: int
    systems: list[str]


class ItemSystem(BaseModel):
    """Who gave one of an item's replies."""

    reply_id: str
    text: str
    system: str
    kind: str
    weights_sha256: str
    decoding: dict[str, Any]


class ItemEntry(BaseModel):
    """An item with all that raters must not see."""

    id: int
    object: Literal["item"] = "item"
    kind: str
    purpose: str
    status: str
    target: int | None
    done: int
    messages: list[dict[str, str]]
    a: ItemSystem
    b: ItemSystem | None
    gold: dict[str, Any] | None
    repeats: int | None
    flags: list[str]
    comments: list[str | None]
    """What each who flagged it wrote to the owner."""


class ItemList(BaseModel):
    """A page of items, in their order; go on with `after` = `last_id` while there is more."""

    object: Literal["list"] = "list"
    data: list[ItemEntry]
    last_id: int | None
    has_more: bool


class PurposeProgress(BaseModel):
    """How far the items of one purpose are."""

    items: int
    done_items: int
    judgements: int
    wanted: int | None
    """Null for gold."""


class Progress(BaseModel):
    """How far a study is."""

    object: Literal["progress"] = "progress"
    study: str
    status: str
    complete: bool
    """Whether all ordinary and A/A items have their k raters."""
    purposes: dict[str, PurposeProgress]
    open_leases: int
    skipped: int
    flagged: int
    withdrawn: int
    raters_joined: int
    raters_agreed: int
    raters_active: int
    """How many judged at least one item."""
