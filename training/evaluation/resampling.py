"""Intervals for what is counted over a whole set of replies, and corpus statistics that are cheap to count again.

Distinct-n is a property of the set: a context drawn twice, as the bootstrap draws, would count its n-grams once, and
the value fall by a fifth. So each draw takes a random half of the contexts, none twice: the delete-half jackknife (Shao
and Wu 1989, "A general theory for jackknife variance estimation"), whose spread is that of the bootstrap for means and
right for counts. It is given for the same number of tokens in every draw and system, fewer than any half holds.

Knows token ids and numbers; no text, no model. C contexts, D draws, H = C // 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

SHARE: Final = 0.45
"""Of the shortest set's tokens; a random half holds a little less than half of them now and then."""


def random_halves(contexts: int, draws: int, seed: int) -> Ids:
    """Return D random halves of C contexts as indices [D, H], each in random order. Raises ValueError below C = 2."""
    if contexts < 2 or draws < 1:
        raise ValueError(f"{draws} draws of half of {contexts} contexts")
    rng = np.random.default_rng((seed, contexts, draws))
    return np.stack([rng.permutation(contexts)[: contexts // 2] for _ in range(draws)]).astype(np.int64)


def half_means(values: npt.ArrayLike, halves: Ids) -> Floats:
    """Return the mean of `values` [..., C] over each half: [..., D]."""
    weights = np.zeros((len(halves), np.shape(values)[-1]))
    np.put_along_axis(weights, halves, 1 / halves.shape[1], axis=1)
    return np.asarray(values, np.float64) @ weights.T


@dataclass(frozen=True)
class NgramTable:
    """The n-grams of C replies, numbered, ready to be counted over any choice of them."""

    ids: Ids
    """[C, most] numbers of the n-grams of each reply, -1 behind its last."""
    lengths: Ids
    """[C] tokens of each reply."""
    size: int
    """How many different n-grams there are."""
    n: int

    @classmethod
    def of(cls, replies: Sequence[Sequence[int]], n: int) -> "NgramTable":
        """Number the n-grams of `replies` (token ids, not negative); they do not cross replies."""
        lengths = np.array([len(reply) for reply in replies], np.int64)
        width = max(int(lengths.max(initial=0)), n)
        tokens = np.full((len(replies), width), -1, np.int64)
        tokens[np.arange(width) < lengths[:, None]] = [token for reply in replies for token in reply]
        windows = np.lib.stride_tricks.sliding_window_view(tokens, n, axis=1)
        whole = (windows >= 0).all(axis=2)
        different, numbers = np.unique(windows[whole], axis=0, return_inverse=True)
        ids = np.full(whole.shape, -1, np.int64)
        ids[whole] = numbers.reshape(-1)
        return cls(ids, lengths, len(different), n)

    def distinct(self, chosen: Ids, tokens: int) -> float:
        """Return distinct-n, the different n-grams divided by tokens, of the first `tokens` tokens of the replies
        `chosen`, in that order (fewer where they hold fewer)."""
        counts, seen = self._count(chosen, tokens)
        return np.count_nonzero(counts) / seen if seen else 0.0

    def entropy(self, chosen: Ids, tokens: int) -> float:
        """Return the entropy in nats of the n-grams that `distinct` counts."""
        counts, _ = self._count(chosen, tokens)
        shares = counts[counts > 0] / max(1, counts.sum())
        return float(-(shares * np.log(shares)).sum())

    def _count(self, chosen: Ids, tokens: int) -> tuple[Ids, int]:
        lengths = self.lengths[chosen]
        ends = np.cumsum(lengths)
        taken = np.clip(tokens - (ends - lengths), 0, lengths)
        rows = self.ids[chosen]
        inside = np.arange(rows.shape[1]) + self.n <= taken[:, None]
        return np.bincount(rows[inside], minlength=self.size), int(taken.sum())


def common_tokens(totals: Sequence[int]) -> int:
    """Return on how many tokens distinct-n is compared, when all replies of the systems hold `totals`; at least 1."""
    return max(1, int(SHARE * min(totals)))
