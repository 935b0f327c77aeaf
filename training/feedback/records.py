"""What people said of replies, in words: preferences and thumbs, and which of them are kept from training.

Knows cleaned texts; knows no file and no token.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.config import FeedbackConfig


@dataclass(frozen=True)
class Preference:
    """Somebody liked one reply to a context better than another."""

    turns: tuple[str, ...]
    """The context, oldest turn first."""
    chosen: str
    rejected: str


@dataclass(frozen=True)
class Thumb:
    """Somebody liked a reply to a context, or did not."""

    turns: tuple[str, ...]
    reply: str
    up: bool


@dataclass(frozen=True)
class FeedbackFile:
    """An export that was read, and the digest by which a resumed run knows it again."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Feedback:
    """All that was read from the exports."""

    files: tuple[FeedbackFile, ...] = ()
    preferences: tuple[Preference, ...] = ()
    thumbs: tuple[Thumb, ...] = ()
    undecidable: int = 0
    """Preferences left out because both replies are the same text after cleaning."""

    def kept_out(self, share: float) -> tuple[Preference, ...]:
        """Return the preferences whose contexts D is not to learn from, where `share` of all contexts are kept out."""
        return tuple(p for p in self.preferences if is_kept_out(p.turns, share))

    def learnt(self, share: float) -> "Feedback":
        """Return the rest: no context in it, of a preference or a thumb, is one that is kept out."""
        return Feedback(
            self.files,
            tuple(p for p in self.preferences if not is_kept_out(p.turns, share)),
            tuple(t for t in self.thumbs if not is_kept_out(t.turns, share)),
            self.undecidable,
        )


def is_kept_out(turns: Sequence[str], share: float) -> bool:
    """Say whether this context belongs to the `share` of all contexts that D never learns from.

    Decided by the context alone: all judgements of a context, by whomever and in whatever export, are on one side, and
    stay there when more feedback comes.
    """
    digest = hashlib.sha256(json.dumps(list(turns), ensure_ascii=False).encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def described(feedback: Feedback, config: FeedbackConfig) -> dict[str, Any]:
    """Return what a bundle tells of the feedback that its D learnt from."""
    learnt = feedback.learnt(config.held_out)
    return {
        "files": [file.sha256 for file in feedback.files],
        "preferences": len(learnt.preferences),
        "thumbs_up": sum(thumb.up for thumb in learnt.thumbs),
        "thumbs_down": sum(not thumb.up for thumb in learnt.thumbs),
        "held_out_share": config.held_out,
        "held_out_preferences": len(feedback.kept_out(config.held_out)),
        "shuffled": config.shuffled,
    }
