"""What is asked and told about keys."""

from typing import Annotated, Final, Literal, get_args

from pydantic import BaseModel, Field

from app.wire import Text, WireModel

Scope = Literal["chat", "rate", "metrics", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)


class KeyRequest(WireModel):
    """A new key."""

    scopes: Annotated[list[Scope], Field(min_length=1)]
    name: Annotated[Text, Field(max_length=255, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$")] = ""
    """For people; it goes into lists, so it has no line breaks."""
    expires_in_hours: Annotated[int, Field(ge=1, le=24 * 3650)] | None = None


class KeyEntry(BaseModel):
    """A key as it is stored: without its secret. Moments are seconds of Unix time."""

    id: int
    name: str
    prefix: str
    scopes: list[str]
    created: int
    expires: int | None
    revoked: int | None
    last_used: int | None


class NewKey(KeyEntry):
    """A key that was just made; its secret is told this once."""

    secret: str
