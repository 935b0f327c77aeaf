"""The JSON of invitations, sessions and consent."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from app.wire import Text, WireModel


class InvitationRequest(WireModel):
    """A new link into a study. The label names the link, not a person."""

    label: Annotated[Text, Field(max_length=255)] = ""
    max_raters: Annotated[int, Field(ge=1, le=100_000)] = 1
    expires_in_days: Annotated[float, Field(gt=0, le=3650, allow_inf_nan=False)] | None = 30.0


class InvitationEntry(BaseModel):
    """A link as it is stored: without its token."""

    id: int
    object: Literal["invitation"] = "invitation"
    label: str
    max_raters: int
    raters: int
    """How many agreed to take part; those who only opened the link do not count."""
    created: int
    expires: int | None
    revoked: int | None


class NewInvitation(InvitationEntry):
    """A link that was just made; its token is told this once."""

    token: str
    path: str
    """What to put behind the service's address."""


class InvitationList(BaseModel):
    """The links into a study."""

    object: Literal["list"] = "list"
    data: list[InvitationEntry]


class JoinRequest(WireModel):
    """Somebody who follows a link."""

    token: Annotated[Text, Field(min_length=1, max_length=128)]
    external_ref: Annotated[Text, Field(min_length=1, max_length=255)] | None = None
    """What the owner knows the rater by; whoever comes again by it is the same rater."""
    simulated: bool = False


class ConsentRequest(WireModel):
    """A rater agrees."""

    version: Annotated[Text, Field(min_length=1, max_length=64)]


class ConsentText(BaseModel):
    """What there is to agree to."""

    version: str
    text: str


class RaterSession(BaseModel):
    """A rater in a study."""

    object: Literal["rater_session"] = "rater_session"
    rater: str
    study: str
    title: str
    kind: str
    status: str
    instructions: str
    consent: ConsentText
    consented: bool
    judged: int
    skipped: int
    remaining: int
    """Items that wait for this rater just now."""


class NewRaterSession(RaterSession):
    """A session that was just begun; its token is told this once."""

    session_token: str


class ErasedRater(BaseModel):
    """A rater whose identity and comments are gone."""

    object: Literal["erased_rater"] = "erased_rater"
    rater: str
    erased: int
    judgements_kept: int
