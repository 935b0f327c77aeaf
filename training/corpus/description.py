"""What `dataset.json` says of the written arrays: counts, lengths, checksums. Knows the finished files only."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from training.corpus.dataset import Split

PERCENTILES: Final = (50, 90, 95, 99)
FREQUENT: Final = 20
"""How many of the most frequent replies are named; their share is a measure of how dull the data are."""


def describe_split(split: Split) -> dict[str, Any]:
    """Return the counts of a split, and the lengths of its contexts and replies in tokens, TURN counted."""
    context, reply = split.lengths()
    return {
        "dialogues": len(split.dialogues) - 1,
        "turns": len(split.turns) - 1,
        "pairs": len(split),
        "tokens": len(split.tokens),
        "reply_tokens": int(reply.sum()),
        "context_length": _lengths(context),
        "reply_length": _lengths(reply),
    }


def describe_file(path: Path) -> dict[str, Any]:
    """Return the size and the SHA-256 of a file."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def describe_frequent(replies: Counter[str]) -> dict[str, Any]:
    """Return the most frequent training replies, and their share of all."""
    # Equal counts are ordered by text, so that the same data give the same file.
    frequent = sorted(replies.items(), key=lambda item: (-item[1], item[0]))[:FREQUENT]
    return {
        "share": round(sum(count for _, count in frequent) / replies.total(), 6),
        "distinct_replies": len(replies),
        "replies": [{"text": text, "count": count} for text, count in frequent],
    }


def _lengths(lengths: npt.NDArray[np.int64]) -> dict[str, float]:
    if not len(lengths):
        return {}
    # "higher" gives a length that occurs: p95 tokens hold at least 95 % of the pairs.
    found = np.percentile(lengths, PERCENTILES, method="higher")
    percentiles = {f"p{p}": int(value) for p, value in zip(PERCENTILES, found, strict=True)}
    return {"mean": round(float(lengths.mean()), 3), **percentiles, "max": int(lengths.max())}
