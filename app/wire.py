"""What every JSON body shares: strict fields, text that both databases can hold, parameters that are not built yet."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class WireModel(BaseModel):
    """A JSON object whose fields are all known and of exactly the type that JSON gave."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _storable(text: str) -> str:
    # PostgreSQL refuses U+0000 in text, and a lone surrogate is no text at all: json.loads lets both through.
    if "\x00" in text:
        raise PydanticCustomError("nul_character", "must not contain the character U+0000")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise PydanticCustomError("lone_surrogate", "must not contain half of a surrogate pair")
    return text


def is_text(value: str) -> bool:
    """Say whether `value` can be stored and sent back unchanged."""
    return "\x00" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


Text = Annotated[str, AfterValidator(_storable)]
"""Text that can be stored and sent back unchanged."""


def _off(value: object) -> object:
    # null, false, 0, "" and [] are how clients say "off": those we honour by doing nothing.
    if value:
        raise PydanticCustomError("unsupported_parameter", "is not supported by this server")
    return value


NotYet = Annotated[object, AfterValidator(_off)]
"""A parameter of the wire format that changes the answer and that we cannot honour: only its "off" value passes."""
