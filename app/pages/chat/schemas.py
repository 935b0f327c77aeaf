"""What the chat page's forms and addresses carry."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.ratings.schemas import Reason
from app.wire import Text

Id = Annotated[Text, Field(max_length=48)]
Fresh = Annotated[Text, Field(pattern=r"^([0-9a-f]{32})?$")]


class Place(BaseModel):
    """Where the visitor is: carried along in every form, link and redirection."""

    model_config = ConfigDict(extra="ignore")

    conversation: Id = ""
    model: Annotated[Text, Field(max_length=255)] = ""
    best: Literal["", "on"] = ""
    """The box "pick the best": what browsers send for a ticked one."""


class DrawForm(Place):
    """What every form that has a reply drawn carries."""

    private: Literal["", "on"] = ""
    """The box "do not use my words"."""


class MessageForm(DrawForm):
    """A message typed into the chat."""

    message: Text = ""
    fresh: Fresh = ""
    """The id that a new conversation is to get: sent twice, the message still opens one."""
    after: Annotated[int, Field(ge=0, le=100_000)] | None = None
    """How many turns stood before it, as far as the visitor saw."""
    edit: Id = ""
    """The reply whose exchange this message replaces, with all that followed."""


class AgainForm(DrawForm):
    """A reply is to be drawn anew."""

    reply_id: Id


class ThumbForm(Place):
    """A thumb pressed under a reply, perhaps with reasons."""

    reply_id: Id
    thumb: Literal["1", "-1"]
    reasons: Annotated[list[Reason], Field(max_length=16)] = Field(default_factory=list)
    comment: Annotated[Text, Field(max_length=4000)] = ""


class ScaleForm(Place):
    """Values on the standard dimensions; those left open are empty."""

    reply_id: Id
    sensible: Literal["", "1", "2", "3", "4", "5"] = ""
    specific: Literal["", "1", "2", "3", "4", "5"] = ""
    interesting: Literal["", "1", "2", "3", "4", "5"] = ""
    consistent: Literal["", "1", "2", "3", "4", "5"] = ""
    fluent: Literal["", "1", "2", "3", "4", "5"] = ""
    human_like: Literal["", "1", "2", "3", "4", "5"] = ""


class PrivacyForm(Place):
    """Whether the words of a conversation may be used."""

    private: Literal["", "on"] = ""
