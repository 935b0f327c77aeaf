"""The pages' words in each language, a file for each page, and which language a visitor gets."""

import re
from collections.abc import Mapping
from typing import Final

from app.pages.words import (
    arena,
    batches,
    board,
    chat,
    dimensions,
    errors,
    layout,
    models,
    rating,
    reference,
    sign_in,
    studies,
)

GROUPS: Final[Mapping[str, Mapping[str, Mapping[str, str]]]] = {
    "chat": chat.WORDS,
    "rating": rating.WORDS,
    "board": board.WORDS,
    "studies": studies.WORDS,
    "batches": batches.WORDS,
    "models": models.WORDS,
    "arena": {language: {**rating.WORDS[language], **arena.WORDS[language]} for language in layout.WORDS},
    "sign_in": sign_in.WORDS,
    "reference": reference.WORDS,
    "errors": errors.WORDS,
}
"""Each page's words; those of the layout are on all of them."""

LANGUAGES: Final = tuple(layout.WORDS)
DEFAULT: Final = "en"


def words_of(group: str, language: str) -> dict[str, str]:
    """Return the words of one page in one language, the layout's included."""
    return {**layout.WORDS[language], **dimensions.WORDS[language], **GROUPS[group][language]}


def choose_language(asked: str, accept: str) -> str:
    """Return the language that the address asks for, else the one the browser likes best, else English."""
    wishes: list[tuple[float, str]] = []
    for part in accept[:500].split(","):
        tag, _, parameters = part.partition(";")
        quality = parameters.strip().removeprefix("q=") or "1"
        if re.fullmatch(r"[01](\.\d{1,3})?", quality) and float(quality) > 0:
            wishes.append((float(quality), tag))
    wishes.sort(key=lambda wish: -wish[0])
    for tag in (asked, *(tag for _, tag in wishes)):
        language = tag.strip().lower().split("-")[0]
        if language in LANGUAGES:
            return language
    return DEFAULT
