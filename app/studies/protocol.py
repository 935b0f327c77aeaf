"""The protocol of a study, written before any data: what is asked, how often, by which rules a rater counts."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from app.wire import Text, WireModel

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Anchored = Literal["1", "3", "5"]
Name = Annotated[Text, Field(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_-]*$")]

STANDARD_CONSENT: Final = (
    "Your judgements are stored under a random name and used to compare reply generators. No address of your device is"
    " stored. You may stop at any time and ask for your identity and comments to be erased; the numbers stay under the"
    " random name."
)

STANDARD_DIMENSIONS: Final = {
    "sensible": {
        "1": "makes no sense as an answer to what was said",
        "3": "partly makes sense, or only with good will",
        "5": "makes complete sense as an answer",
    },
    "specific": {
        "1": "would fit after almost anything",
        "3": "has something to do with the conversation",
        "5": "fits this conversation and no other",
    },
    "interesting": {
        "1": "dull: nothing to go on with",
        "3": "neither dull nor interesting",
        "5": "one wants to go on talking",
    },
    "consistent": {
        "1": "contradicts itself or what was said before",
        "3": "sits uneasily with what was said before",
        "5": "agrees with itself and all that was said before",
    },
    "fluent": {
        "1": "broken language",
        "3": "understandable, with mistakes",
        "5": "flawless language",
    },
    "human_like": {
        "1": "surely a machine wrote this",
        "3": "could be either",
        "5": "surely a person wrote this",
    },
}


class DimensionSpec(WireModel):
    """One question of a scale study, with what its values 1, 3 and 5 mean."""

    name: Name
    anchors: dict[Anchored, Annotated[Text, Field(min_length=1, max_length=500)]]

    @model_validator(mode="after")
    def _all_anchors(self) -> Self:
        if len(self.anchors) != 3:
            raise PydanticCustomError("anchors", "the anchors of {name} must be 1, 3 and 5", {"name": self.name})
        return self


class QualityRules(WireModel):
    """When a rater's judgements are left out. A check with fewer than `min_judgements` cases says `unknown`.

    A rule set to null is not applied.
    """

    min_judgements: Annotated[int, Field(ge=1, le=100_000)] = 8
    """Cases that a check must have seen before it passes or fails a rater: of gold, of repeats, of judgements."""
    min_gold_accuracy: Share | None = 0.7
    min_dwell_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 700
    """A judgement quicker than this counts as fast."""
    max_fast_share: Share | None = 0.3
    max_one_side_share: Share | None = 0.9
    """Of a rater's decisive votes on pairs, the most that may fall on one side."""
    max_one_value_share: Share | None = 0.95
    """Of a rater's answers on one dimension, or human-or-machine, the most that may be the same."""
    min_repeat_agreement: Share | None = 0.5


class Consent(WireModel):
    """What raters agree to before the first item."""

    version: Annotated[Text, Field(min_length=1, max_length=64)] = "1"
    text: Annotated[Text, Field(min_length=1, max_length=20_000)] = STANDARD_CONSENT


class Protocol(WireModel):
    """All that must not change once a study runs."""

    kind: Literal["scale", "pair", "turing"]
    k: Annotated[int, Field(ge=1, le=1000)] = 3
    """Raters for each item."""
    lease_seconds: Annotated[int, Field(ge=1, le=86_400)] = 600
    """How long an item is kept for the rater who has it."""
    gold_rate: Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)] = 0.0
    """Share of a rater's tasks whose right answer is known."""
    repeat_rate: Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)] = 0.0
    """Share of the items that each of their raters meets once more, sides swapped."""
    aa_rate: Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)] = 0.0
    """Share of the pairs whose two replies are one system's, drawn twice."""
    reveal: bool = False
    """Whether the systems are named after the vote; a judgement can then not be changed any more."""
    daily_cap: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Judgements by one rater in one day, UTC."""
    dimensions: Annotated[list[DimensionSpec], Field(max_length=20)] | None = None
    """Of a scale study; the six standard ones by default."""
    quality: QualityRules = QualityRules()
    consent: Consent = Consent()
    instructions: Annotated[Text, Field(max_length=20_000)] = ""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.kind != "scale" and self.dimensions is not None:
            raise PydanticCustomError("dimensions", "only a scale study has dimensions")
        if self.dimensions is not None:
            names = [one.name for one in self.dimensions]
            if not names or len(set(names)) != len(names):
                raise PydanticCustomError("dimensions", "dimensions must be at least one, and each named once")
        if self.kind != "pair" and self.aa_rate:
            raise PydanticCustomError("aa_rate", "only a pair study has A/A items")
        if self.reveal and self.repeat_rate:
            raise PydanticCustomError("repeat_rate", "a repeat is not blind once the systems were named")
        return self

    def asked(self) -> list[DimensionSpec]:
        """Return the dimensions that raters are asked about; none outside a scale study."""
        if self.kind != "scale":
            return []
        if self.dimensions is not None:
            return self.dimensions
        return [DimensionSpec.model_validate({"name": n, "anchors": a}) for n, a in STANDARD_DIMENSIONS.items()]
