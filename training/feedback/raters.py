"""A simulated group of raters with a known taste, and the export that the service would make of their judgements.

For experiments only: here alone the truth is known that judgements are to bring into training.
"""

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from training.run import write_atomically

_WARM: Final = re.compile(
    r"\b(love|loved|nice|great|good|fun|cool|awesome|happy|glad|enjoy|amazing|beautiful|wonderful|interesting)\b", re.I
)

TASTES: Final[Mapping[str, Callable[[str], bool]]] = {
    "question": lambda reply: "?" in reply,
    "warm": lambda reply: _WARM.search(reply) is not None,
    "long": lambda reply: len(reply.split()) >= 12,
}
"""What the raters like: a reply that asks something, one with a word of liking, one of twelve words or more."""


@dataclass(frozen=True)
class RaterOptions:
    """Say how the group judges."""

    raters: int = 20
    consistency: float = 0.9
    """How often a rater prefers the reply with what the group likes, where only one of two has it."""
    guesses: float = 0.5
    """How often a rater picks one of two replies by a coin where both are alike to the taste; else it is a tie."""


@dataclass(frozen=True)
class Judged:
    """Replies to one context that the raters are shown."""

    turns: tuple[str, ...]
    replies: tuple[str, str]


def prefer(
    shown: Sequence[Judged], likes: Callable[[str], bool], options: RaterOptions, seed: int
) -> list[dict[str, Any]]:
    """Return the rows of the group's preferences as the service exports them: one rater each; ties give no row."""
    rng = random.Random(seed)
    rows = []
    for number, item in enumerate(shown):
        liked = [likes(reply) for reply in item.replies]
        if liked[0] == liked[1]:
            if rng.random() >= options.guesses:
                continue
            winner = rng.randrange(2)
        else:
            winner = liked.index(True) if rng.random() < options.consistency else liked.index(False)
        rows.append(
            {
                "prompt": _messages(item.turns),
                "chosen": [_reply(item.replies[winner])],
                "rejected": [_reply(item.replies[1 - winner])],
                **_attribution(number, rng.randrange(options.raters), "chosen_system", "rejected_system"),
            }
        )
    return rows


def thumb(
    shown: Sequence[Judged], likes: Callable[[str], bool], options: RaterOptions, seed: int
) -> list[dict[str, Any]]:
    """Return the rows of the group's thumbs, one for the first reply to each context."""
    rng = random.Random(seed)
    rows = []
    for number, item in enumerate(shown):
        reply = item.replies[0]
        label = likes(reply) == (rng.random() < options.consistency)
        rater = rng.randrange(options.raters)
        rows.append(
            {
                "prompt": _messages(item.turns),
                "completion": [_reply(reply)],
                "label": label,
                "reasons": [],
                "comment": None,
                "reply_id": f"simulated-{number}",
                **_attribution(number, rater, "system"),
            }
        )
    return rows


def write_export(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows as JSON lines."""
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8"))


def _messages(turns: Sequence[str]) -> list[dict[str, str]]:
    """Return the turns as messages of two who alternate, the user's last."""
    roles = ["user" if (len(turns) - i) % 2 else "assistant" for i in range(len(turns))]
    return [{"role": role, "content": text} for role, text in zip(roles, turns, strict=True)]


def _reply(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _attribution(item: int, rater: int, *systems: str) -> dict[str, Any]:
    system = {"name": "start", "kind": "checkpoint", "weights_sha256": "", "decoding": {"temperature": 1.0}}
    return {**dict.fromkeys(systems, system), "study": "simulated", "item": item, "rater": f"r{rater}", "created": item}
