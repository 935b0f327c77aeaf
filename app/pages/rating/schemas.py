"""What a rater's forms and addresses carry."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from app.judging.schemas import LONGEST_DWELL, JudgementRequest, Lease
from app.wire import Text

SCORE = "score-"


class Seat(BaseModel):
    """Where a rater is: what was just judged, or what the page has to say."""

    model_config = ConfigDict(extra="ignore")

    after: Annotated[Text, Field(max_length=48)] = ""
    notice: Annotated[Text, Field(max_length=64)] = ""


class ConsentForm(BaseModel):
    """A rater agrees."""

    version: Annotated[Text, Field(min_length=1, max_length=64)]


class JudgeForm(BaseModel):
    """A verdict: a choice, or a field `score-NAME` for each dimension."""

    lease: Lease
    choice: Literal["left", "right", "tie", "both_bad", "human", "machine"] | None = None
    scores: dict[Annotated[Text, Field(max_length=64)], Literal["1", "2", "3", "4", "5"]] = Field(default_factory=dict)
    dwell_ms: Annotated[int, Field(ge=0)] | None = None
    comment: Annotated[Text, Field(max_length=4000)] = ""

    @model_validator(mode="before")
    @classmethod
    def _gather_scores(cls, fields: Any) -> Any:
        scores = {name.removeprefix(SCORE): value for name, value in fields.items() if name.startswith(SCORE)}
        return {**{name: value for name, value in fields.items() if not name.startswith(SCORE)}, "scores": scores}

    @field_validator("dwell_ms", mode="before")
    @classmethod
    def _empty_without_script(cls, value: Any) -> Any:
        return value or None

    def request(self) -> JudgementRequest:
        """Return it as the interface has it."""
        return JudgementRequest(
            lease=self.lease,
            choice=self.choice,
            scores={name: int(value) for name, value in self.scores.items()} or None,
            dwell_ms=None if self.dwell_ms is None else min(self.dwell_ms, LONGEST_DWELL),
            comment=self.comment.strip() or None,
        )


class SkipForm(BaseModel):
    """An item is left to others."""

    lease: Lease
    reason: Literal["cannot_decide", "not_my_language", "offensive", "personal_data", "broken", "other"]


class FlagForm(BaseModel):
    """Something is wrong with an item."""

    lease: Lease
    flag: Literal["offensive", "personal_data", "broken", "wrong_language", "other"]
    comment: Annotated[Text, Field(max_length=4000)] = ""
