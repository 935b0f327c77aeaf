"""A context and a reply as text, and the two ways to make human and machine pairs differ in less than they do.

Knows turns and replies as text; no tokens of its own, no models.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_APOSTROPHES: Final = frozenset("'’‘`´ʼ＇")
_HAN: Final = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_SPACE_AT_HAN: Final = re.compile(f" (?=[{_HAN}])|(?<=[{_HAN}]) ")


@dataclass(frozen=True)
class Pair:
    """What was said, oldest turn first, and what was replied."""

    context: tuple[str, ...]
    reply: str


def normalise(pair: Pair) -> Pair:
    """Return the pair without punctuation, symbols and case, turns and reply alike.

    What is left are letters, marks and digits in single spaces. "Don't" becomes "dont", "yes,no" becomes "yes no";
    Chinese has no spaces, so there none tells where a comma stood.
    """
    return Pair(tuple(map(normalise_text, pair.context)), normalise_text(pair.reply))


def normalise_text(text: str) -> str:
    """Return `text` without punctuation and symbols (Unicode categories P and S) and without case."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = (_kept(character) for character in folded)
    spaced = " ".join(unicodedata.normalize("NFKC", "".join(kept)).split())
    return _SPACE_AT_HAN.sub("", spaced)


def han_share(text: str) -> float:
    """Return the share of the letters of `text` that are Chinese ideographs; 0 without letters."""
    letters = sum(character.isalpha() for character in text)
    return len(re.findall(f"[{_HAN}]", text)) / letters if letters else 0.0


def length_match(
    human: Sequence[Pair], machine: Sequence[Pair], tokenize: Callable[[str], Sized], rng: np.random.Generator
) -> tuple[list[Pair], list[Pair]]:
    """Return as many of each as can be had with the same number of replies of every length, in the order given.

    Lengths are counted in what `tokenize` gives. Both lists are empty when no length occurs on both sides.
    """
    lengths = [np.array([len(tokenize(pair.reply)) for pair in side], np.int64) for side in (human, machine)]
    kept_human, kept_machine = matched_indices(lengths[0], lengths[1], rng)
    return [human[i] for i in kept_human], [machine[i] for i in kept_machine]


def matched_indices(
    human: NDArray[np.int64], machine: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ascending indices into both arrays of lengths that leave the same number of every length.

    Of a length that one side has more often, a random choice is kept.
    """
    kept: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]] = ([], [])
    for length in np.intersect1d(human, machine):
        places = [np.flatnonzero(side == length) for side in (human, machine)]
        count = min(map(len, places))
        for side, found in zip(kept, places, strict=True):
            side.append(rng.choice(found, count, replace=False))
    first, second = (np.sort(np.concatenate(side)) if side else np.zeros(0, np.int64) for side in kept)
    return first, second


def mismatched(pairs: Sequence[Pair], rng: np.random.Generator) -> list[Pair]:
    """Return the same contexts, each with the reply to another one: every reply is used once, none where it belongs.

    Raises ValueError for fewer than two pairs.
    """
    if len(pairs) < 2:
        raise ValueError(f"{len(pairs)} pairs: to exchange replies takes two")
    order = rng.permutation(len(pairs))
    taken = np.empty_like(order)
    taken[order] = np.roll(order, 1)
    return [Pair(pair.context, pairs[other].reply) for pair, other in zip(pairs, taken, strict=True)]


def _kept(character: str) -> str:
    """Return what is left of one character: itself, a space, or nothing."""
    if character in _APOSTROPHES:
        return ""
    category = unicodedata.category(character)
    if category == "Cf" or "\ufe00" <= character <= "\ufe0f":  # joiners and selectors are parts of emoji
        return ""
    return " " if category[0] in "PSZC" else character
