"""Stock replies: what fits almost any context and says nothing of it.

Knows one list for each language, shipped as text beside this file, and finds out a text's language from its script.
Refuses to know contexts: "yes" is a stock reply even where it is the best one, so the human share is the yardstick.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal

import numpy as np
import numpy.typing as npt

from training.evaluation.pairs import han_share, normalise_text

Language = Literal["en", "zh"]
_PREFIX = "*"


@dataclass(frozen=True)
class StockReplies:
    """The stock replies of one language."""

    texts: tuple[str, ...]
    """As they stand in the list."""
    whole: frozenset[str]
    """Normalised."""
    openings: tuple[str, ...]
    """Normalised; every reply that begins so is one, too."""


def is_stock(reply: str) -> bool:
    """Say whether a reply is a stock reply of its language, case and punctuation aside.

    A reply without a letter or digit is not: there is nothing to compare.
    """
    text = normalise_text(reply)
    language = language_of(text)
    stock = stock_replies(language)
    if text in stock.whole:
        return True
    # A Chinese opening may go on at once; an English one ends with a word.
    return any(
        text.startswith(opening if language == "zh" else f"{opening} ") or text == opening for opening in stock.openings
    )


def are_stock(replies: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which of R replies are stock replies, [R]."""
    return np.array([is_stock(reply) for reply in replies], np.bool_)


def stock_share(replies: Sequence[str]) -> float:
    """Return the share of R replies that are stock replies. Raises ValueError without replies.

    Paper: Li et al. 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models", names the trouble.
    """
    if not replies:
        raise ValueError("no replies to measure")
    return float(are_stock(replies).mean())


def language_of(text: str) -> Language:
    """Return "zh" for a text at least half of whose letters are Chinese ideographs, else "en"."""
    return "zh" if han_share(text) >= 0.5 else "en"


@functools.cache
def stock_replies(language: Language) -> StockReplies:
    """Return the stock replies of a language, read from the list shipped with this package."""
    listed = resources.files("training.evaluation").joinpath(f"dull_replies/{language}.txt").read_text(encoding="utf-8")
    lines = [line.strip() for line in listed.splitlines() if line.strip() and not line.startswith("#")]
    texts = tuple(line.removesuffix(_PREFIX) for line in lines)
    openings = tuple(normalise_text(line) for line in lines if line.endswith(_PREFIX))
    return StockReplies(texts, frozenset(map(normalise_text, texts)), openings)
