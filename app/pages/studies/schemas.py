"""What the forms of studies carry, and how they are read as the interface has them."""

import json
import re
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from app.chat.service import DRAWN_SEEDS
from app.errors import BadRequestError, parameter
from app.studies.schemas import ContextSpec, ItemsRequest, StudyRequest
from app.wire import Text

BEST_OF = 4


class DraftForm(BaseModel):
    """A new study with its items."""

    model_config = ConfigDict(extra="ignore")

    title: Annotated[Text, Field(max_length=255)] = ""
    slug: Annotated[Text, Field(max_length=64)] = ""
    kind: Literal["pair", "scale", "turing"] = "pair"
    k: Annotated[int, Field(ge=1, le=1000)] = 3
    gold: Annotated[int, Field(ge=0, le=10_000)] = 0
    reveal: Literal["", "on"] = ""
    instructions: Annotated[Text, Field(max_length=20_000)] = ""
    systems: list[Annotated[Text, Field(max_length=300)]] = Field(default_factory=list)
    contexts: Text = ""
    seed: Annotated[int, Field(ge=0, lt=DRAWN_SEEDS)] = 0
    """Drawn for each form that is shown: a draft of the same name and seed is the same form, sent twice."""

    @field_validator("k", "gold", mode="before")
    @classmethod
    def _empty_is_the_default(cls, value: Any, info: Any) -> Any:
        return {"k": 3, "gold": 0}[info.field_name] if value == "" else value

    def study(self) -> StudyRequest:
        """Return the study as the interface has it. Raises BadRequestError."""
        slug = self.slug.strip() or slug_of(self.title) or f"study-{self.seed % 1_000_000:06}"
        protocol = {
            "kind": self.kind,
            "k": self.k,
            "reveal": bool(self.reveal),
            "gold_rate": 0.1 if self.gold else 0.0,
            "instructions": self.instructions.replace("\r\n", "\n"),
        }
        try:
            return StudyRequest.model_validate(
                {"slug": slug, "title": self.title.strip(), "seed": self.seed, "protocol": protocol}
            )
        except ValidationError as error:
            raise _bad(error) from None

    def items(self) -> ItemsRequest:
        """Return what the study asks about. Raises BadRequestError."""
        try:
            return ItemsRequest.model_validate(
                {
                    "systems": [_system(one) for one in self.systems],
                    "contexts": read_contexts(self.contexts),
                    "automatic_gold": self.gold,
                }
            )
        except ValidationError as error:
            raise _bad(error) from None


class InviteForm(BaseModel):
    """A new link into a study."""

    label: Annotated[Text, Field(max_length=255)] = ""
    max_raters: Annotated[int, Field(ge=1, le=100_000)] = 1
    days: Annotated[float, Field(gt=0, le=3650, allow_inf_nan=False)] = 30.0
    token: Annotated[Text, Field(pattern=r"^([A-Za-z0-9_-]{32})?$")] = ""
    """The link's own, made with the form: sent twice, it still makes one link."""


class Nothing(BaseModel):
    """A form that is only a button."""

    model_config = ConfigDict(extra="ignore")


def slug_of(title: str) -> str:
    """Return a short name made of a title; empty when the title has no letter that can stand in an address."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:64].strip("-")


def read_contexts(text: str) -> list[dict[str, Any]]:
    """Return the contexts of a text: on each line JSON as `rejoinder contexts` writes it, or turns between tabs or |.

    Raises BadRequestError naming the line that cannot be read.
    """
    found: list[dict[str, Any]] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if not line.strip():
            continue
        if not line.lstrip().startswith("{"):
            found.append({"turns": [turn.strip() for turn in re.split(r"\t|\|", line) if turn.strip()]})
            continue
        try:
            row = json.loads(line)
            known = {name: row[name] for name in ContextSpec.model_fields if row.get(name) is not None}
            found.append(ContextSpec.model_validate(known).model_dump())
        except (ValueError, RecursionError) as error:
            fault = error.errors()[0] if isinstance(error, ValidationError) else None
            reason = f"{parameter(fault['loc'])}: {fault['msg'].lower()}" if fault else "is not JSON"
            raise BadRequestError(
                f"contexts, line {number}: {reason}", param="contexts", code="contexts_unreadable"
            ) from None
    return found


def _system(choice: str) -> dict[str, Any]:
    kind, _, name = choice.partition(":")
    if kind == "human":
        return {"kind": "human"}
    if kind not in ("model", "best"):
        raise BadRequestError(f"systems: {choice[:100]!r} is not one that can be chosen", param="systems")
    return {"kind": "model", "model": name, **({"best_of": BEST_OF} if kind == "best" else {})}


def _bad(error: ValidationError) -> BadRequestError:
    first = error.errors()[0]
    name = parameter(first["loc"])
    return BadRequestError(f"{name}: {first['msg'][:1].lower()}{first['msg'][1:]}", param=name)
