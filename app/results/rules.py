"""By which rules an analysis is made: stored with it, so that it can be made again."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import numpy as np

from app.statistics.clusters import DRAWS, LEVEL
from app.statistics.quality import Rules
from app.statistics.strengths import PRIOR
from app.statistics.turing import MARGIN

METHOD: Final = 1
"""To be raised whenever the same judgements would give other numbers."""

STREAMS: Final = ("systems", "agreement", "side", "length", "same_system", "humans")
"""What draws at random in an analysis, each from a stream of its own: adding one leaves the others as they were."""


def code_version() -> str:
    """Return what made an analysis."""
    try:
        return f"rejoinder {version('rejoinder')}, method {METHOD}"
    except PackageNotFoundError:  # run from a directory of sources
        return f"method {METHOD}"


def common_rules(withdrawn: list[int]) -> dict[str, Any]:
    """Return the rules that hold for every analysis; judgements of the `withdrawn` items are left out."""
    return {
        "interval": LEVEL,
        "draws": DRAWS,
        "prior_pseudo_ties": PRIOR,
        "equivalence_margin": MARGIN,
        "without_items": withdrawn,
    }


def quality_rules(protocol: dict[str, Any]) -> Rules:
    """Return the rules for raters that a study's protocol states."""
    return Rules(**protocol["quality"])


def stream(seed: int, name: str, *more: int) -> np.random.Generator:
    """Return the random numbers of one part of an analysis."""
    # Seeds are any 64-bit number; a sequence of seeds takes none below zero.
    return np.random.default_rng([seed % 2**64, STREAMS.index(name), *more])
