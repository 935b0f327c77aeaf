"""An interpolated Kneser-Ney language model: the counting model that a neural one has to leave behind.

Knows replies as sequences of token ids, numpy only; refuses to know tokenizers, contexts and torch.
`n` tokens in all replies together, `V` vocabulary.

Paper: Kneser and Ney 1995, "Improved backing-off for m-gram language modeling"; interpolated as in
Chen and Goodman 1999, "An empirical study of smoothing techniques for language modeling".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from training.evaluation.metrics import perplexity

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Reply = Sequence[int] | npt.NDArray[np.integer]

LARGEST_KEY: Final = 2**63 - 1


@dataclass(frozen=True)
class Level:
    """The n-grams of one length: what each keeps after the discount, and what each history passes down."""

    keys: Ids
    """(number of n-grams,) sorted; history and token as one number in base V + 1."""
    kept: Floats
    """(number of n-grams,) the discounted relative frequency of the token after its history."""
    histories: Ids
    """(number of histories,) sorted."""
    passed_down: Floats
    """(number of histories,) the probability left for the shorter history."""
    discount: float


class KneserNey:
    """Predict the next token of a reply from the `order - 1` tokens before it.

    The probabilities over the V tokens sum to one after every history, and none is zero.
    """

    def __init__(self, vocabulary_size: int, levels: tuple[Level, ...]) -> None:
        """Hold fitted `levels`, unigrams first; `fit` makes them."""
        self.vocabulary_size = vocabulary_size
        self._levels = levels

    @property
    def order(self) -> int:
        """Return the length of the longest n-gram."""
        return len(self._levels)

    @property
    def discounts(self) -> tuple[float, ...]:
        """Return the absolute discount of each level, unigrams first."""
        return tuple(level.discount for level in self._levels)

    @classmethod
    def fit(cls, replies: Iterable[Reply], vocabulary_size: int, order: int = 3) -> "KneserNey":
        """Count the n-grams of `replies`, each a sequence of ids below `vocabulary_size` that ends with the end token.

        The longest n-grams, and those that open a reply, are counted as they occur; a shorter one counts the
        different tokens seen before it. Raises ValueError for an id outside the vocabulary, for replies without a
        single token, and for an order so high that an n-gram does not fit in 63 bits.
        """
        if order < 1 or vocabulary_size < 1 or (vocabulary_size + 1) ** order > LARGEST_KEY:
            raise ValueError(f"order {order} and vocabulary size {vocabulary_size}: an n-gram has to fit in 63 bits")
        tokens, positions = _flatten(replies, vocabulary_size)
        if not tokens.size:
            raise ValueError("no tokens to fit a language model to")
        keys = _keys(tokens, _histories(tokens, positions, order, vocabulary_size), vocabulary_size)
        base = vocabulary_size + 1
        # One start symbol opens a reply, so a history holds at most one: level n sees the positions from n - 2 on.
        levels: list[Level] = []
        seen, counts = np.unique(keys[positions >= order - 2], return_counts=True)
        for length in range(order, 0, -1):
            levels.append(_level(seen, counts, base))
            if length == 1:
                break
            suffixes, continuations = np.unique(seen % base ** (length - 1), return_counts=True)
            # Nothing ever stands before the start symbol, so n-grams with it cannot be counted by what does.
            opening = positions == length - 3
            openings, occurrences = np.unique(keys[opening] % base ** (length - 1), return_counts=True)
            seen, counts = np.concatenate((suffixes, openings)), np.concatenate((continuations, occurrences))
            ascending = np.argsort(seen)
            seen, counts = seen[ascending], counts[ascending]
        return cls(vocabulary_size, tuple(reversed(levels)))

    def log_probabilities(self, replies: Iterable[Reply]) -> Floats:
        """Return the natural log-probability of every token of `replies`, flat in their order: (n,).

        Raises ValueError for an id outside the vocabulary.
        """
        tokens, positions = _flatten(replies, self.vocabulary_size)
        histories = _histories(tokens, positions, self.order, self.vocabulary_size)
        return np.log(self._probabilities(_keys(tokens, histories, self.vocabulary_size)))

    def next_probabilities(self, history: Reply) -> Floats:
        """Return the probability of each token after `history`, the reply's tokens so far (none: its first): (V,)."""
        tokens, positions = _flatten([[*history, 0]], self.vocabulary_size)
        before = _histories(tokens, positions, self.order, self.vocabulary_size)[-1:]
        every = np.arange(self.vocabulary_size)
        return self._probabilities(_keys(every, np.repeat(before, every.size, axis=0), every.size))

    def perplexity(self, replies: Iterable[Reply]) -> float:
        """Return exp of the mean negative log-probability of a token, the end token counted.

        Raises ValueError for an id outside the vocabulary and for replies without a single token.
        """
        scores = self.log_probabilities(replies)
        return perplexity(float(scores.sum()), scores.size)

    def _probabilities(self, keys: Ids) -> Floats:
        """Interpolate from the uniform distribution upwards: (n,) keys of the longest n-grams to (n,)."""
        base = self.vocabulary_size + 1
        result = np.full(keys.shape, 1.0 / self.vocabulary_size)
        for length, level in enumerate(self._levels, start=1):
            grams = keys % base**length
            result *= _look_up(level.histories, level.passed_down, grams // base, missing=1.0)
            result += _look_up(level.keys, level.kept, grams, missing=0.0)
        return result


def _flatten(replies: Iterable[Reply], vocabulary_size: int) -> tuple[Ids, Ids]:
    """Return all tokens in one row and the position of each within its reply, both (n,)."""
    rows = [np.asarray(reply, dtype=np.int64) for reply in replies]
    if not rows:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    tokens = np.concatenate(rows)
    if tokens.size and not 0 <= tokens.min() <= tokens.max() < vocabulary_size:
        raise ValueError(f"token ids from {tokens.min()} to {tokens.max()} in a vocabulary of {vocabulary_size}")
    lengths = np.array([row.size for row in rows])
    return tokens, np.arange(tokens.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _histories(tokens: Ids, positions: Ids, order: int, start: int) -> Ids:
    """Return the `order - 1` ids before each token, oldest first, `start` where the reply has none: (n, order - 1)."""
    histories = np.full((tokens.size, order - 1), start, np.int64)
    for back in range(1, order):
        inside = positions >= back
        histories[inside, -back] = tokens[np.flatnonzero(inside) - back]
    return histories


def _keys(tokens: Ids, histories: Ids, vocabulary_size: int) -> Ids:
    """Join each history and its token into one number in base V + 1: (n,) and (n, order - 1) to (n,)."""
    keys = np.zeros(tokens.shape, np.int64)
    for column in (*histories.T, tokens):
        keys = keys * (vocabulary_size + 1) + column
    return keys


def _level(keys: Ids, counts: Ids, base: int) -> Level:
    """Discount `counts` of the sorted, distinct `keys` by n1 / (n1 + 2 n2): those counted once and twice.

    One half where nothing is counted once: without a discount nothing would be left for the unseen.
    """
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    discount = once / (once + 2 * twice) if once else 0.5
    histories, first, types = np.unique(keys // base, return_index=True, return_counts=True)
    # Where no reply is long enough for this length there are no keys, and reduceat refuses an empty array.
    totals = np.add.reduceat(counts, first) if keys.size else counts
    return Level(
        keys=keys,
        kept=(counts - discount) / np.repeat(totals, types),
        histories=histories,
        passed_down=discount * types / totals,
        discount=discount,
    )


def _look_up(sorted_keys: Ids, values: Floats, wanted: Ids, missing: float) -> Floats:
    """Return the value of each wanted key, `missing` where it is not among the sorted ones: (n,)."""
    if not sorted_keys.size:
        return np.full(wanted.shape, missing)
    places = np.minimum(np.searchsorted(sorted_keys, wanted), sorted_keys.size - 1)
    return np.where(sorted_keys[places] == wanted, values[places], missing)
