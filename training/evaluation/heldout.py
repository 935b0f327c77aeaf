"""The held-out pairs that an evaluation looks at, as text: contexts in turns, and what the human replied.

Knows the prepared dataset and its tokenizer; no model. The same text for every system: a system's own limit on
contexts is applied where its context is encoded, the common limit on replies is applied here.
C pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chatbot.cleaning import clean_turn
from chatbot.tokenizer import Tokenizer
from training.corpus.dataset import Split
from training.errors import RunError
from training.evaluation.pairs import Pair
from training.evaluation.probe import spread_over


@dataclass(frozen=True)
class HeldOut:
    """C pairs of one split."""

    name: str
    """The split's."""
    contexts: tuple[tuple[str, ...], ...]
    """C contexts, each its turns, oldest first."""
    replies: tuple[str, ...]
    """C human replies, cut at the reply limit as training cuts them."""
    split: Split
    chosen: NDArray[np.int64]
    """[C] indices of the pairs in `split`."""

    def __len__(self) -> int:
        return len(self.replies)

    def context_ids(self, limit: int) -> list[list[int]]:
        """Return what a generator with this context limit reads of each context."""
        return [self.split.context(int(i), limit).tolist() for i in self.chosen]

    def pairs(self, replies: Sequence[str] | None = None) -> list[Pair]:
        """Return the contexts with `replies` (None: the human ones)."""
        given = self.replies if replies is None else replies
        return [Pair(context, reply) for context, reply in zip(self.contexts, given, strict=True)]


def held_out(
    name: str, split: Split, tokenizer: Tokenizer, most: int, *, context_tokens: int, reply_tokens: int
) -> HeldOut:
    """Return at most `most` pairs spread over the split, contexts and replies cut at these numbers of tokens.

    Raises RunError when the split has fewer than four pairs: nothing could be measured on them.
    """
    chosen = spread_over(split, most)
    if len(chosen) < 4:
        raise RunError(
            f"{len(chosen)} pairs of the {name} part, which has {len(split)}; expected at least 4: prepare more data"
        )
    contexts = tuple(_turns(split.context(int(i), context_tokens).tolist(), tokenizer) for i in chosen)
    replies = tuple(clean_turn(tokenizer.decode(split.reply(int(i))[:reply_tokens].tolist())) for i in chosen)
    return HeldOut(name, contexts, replies, split, chosen)


def _turns(ids: Sequence[int], tokenizer: Tokenizer) -> tuple[str, ...]:
    return tuple(text for turn in tokenizer.decode_turns(ids) if (text := clean_turn(turn)))
