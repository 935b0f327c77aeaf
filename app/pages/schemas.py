"""What the pages' forms and addresses carry."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.wire import Text

Id = Annotated[Text, Field(max_length=48)]


class Place(BaseModel):
    """Where the visitor is: carried along in every form, link and redirection."""

    model_config = ConfigDict(extra="ignore")

    conversation: Id = ""
    model: Annotated[Text, Field(max_length=255)] = ""
    best: Literal["", "on"] = ""
    """The box "pick the best": what browsers send for a ticked one."""
    lang: Annotated[Text, Field(max_length=35)] = ""


class MessageForm(Place):
    """A message typed into the chat."""

    message: Text = ""


class ThumbForm(Place):
    """A thumb pressed under a reply."""

    reply_id: Id
    thumb: Literal["1", "-1"]


class Said(BaseModel):
    """The answer to a message, for the page's script."""

    conversation: str
    reply_id: str
    text: str
    model: str
