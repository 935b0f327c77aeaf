"""A fresh evaluator that counts: logistic regression over hashed n-grams of the reply and its pairs with the context.

Trained from nothing on pairs labelled human or machine; it shares no part and no idea with any system's
discriminator. Knows token ids through a tokenizer.
`N` pairs, `F` features.

Paper: Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning".
"""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from chatbot.tokenizer import START, TURN, Tokenizer
from training.evaluation.feature_hashing import Hashes, Ids, flatten, ngram_hashes, pair_hashes
from training.evaluation.pairs import Pair

Floats = npt.NDArray[np.float64]

BUCKETS: Final = 2**18
LONGEST_N: Final = 3
DECAY: Final = 3e-4
"""Of the squared weights, beside the mean loss of a pair; rows have a length of about one."""
CROSSED: Final = 32
"""Newest tokens of the last turn, and first ones of the reply, that are paired with each other."""
_ITERATIONS: Final = 60
_DENSE_SCALE: Final = 0.1
_REPLY, _CROSS = 1, 2  # salts


@dataclass(frozen=True)
class Features:
    """What is looked at of N pairs: hashed features as a sparse matrix, and a few numbers."""

    rows: Ids
    columns: Ids
    values: Floats
    dense: Floats
    """[N, number of numbers]"""


def ngram_logits(
    human: Sequence[Pair], machine: Sequence[Pair], asked: Sequence[Pair], tokenizer: Tokenizer, seed: int
) -> Floats:
    """Return how human each asked pair looks, [N], after learning from the first two; above zero is human.

    The loss is convex and no pair is left out, so `seed` changes nothing; it is here because other kinds need one.
    Raises ValueError when a side to learn from is empty.
    """
    if not human or not machine:
        raise ValueError(f"{len(human)} human and {len(machine)} machine pairs: an evaluator needs both")
    learnt = [*human, *machine]
    found = extract([*learnt, *asked], tokenizer)
    count = len(learnt)
    mean, spread = found.dense[:count].mean(axis=0), found.dense[:count].std(axis=0) + 1e-6
    dense = (found.dense - mean) / spread * _DENSE_SCALE
    size, extra = len(dense), dense.shape[1] + 1  # the numbers, and one for the balance of the classes
    rows = np.concatenate((found.rows, np.repeat(np.arange(size), extra)))
    places = np.concatenate((found.columns, np.tile(np.arange(BUCKETS, BUCKETS + extra), size)))
    values = np.concatenate((found.values, np.column_stack((dense, np.ones(size))).reshape(-1)))
    inside = rows < count
    labels = np.repeat([1.0, -1.0], [len(human), len(machine)])
    shares = np.repeat([0.5 / len(human), 0.5 / len(machine)], [len(human), len(machine)])
    weights = _fit(rows[inside], places[inside], values[inside], labels, shares, BUCKETS + extra)
    return _sums(rows, weights[places] * values, size)[count:]


def extract(pairs: Sequence[Pair], tokenizer: Tokenizer) -> Features:
    """Return the features of N pairs.

    Hashed: the different 1- to 3-grams of the reply with its ends marked, and the pairs of a token of the last turn
    and one of the reply. Each of the two has length one. Numbers: length, and how much of the reply stands in the last
    turn and in the whole context, as tokens and as token pairs.
    """
    encode = functools.cache(tokenizer.encode)  # neighbouring pairs of a dialogue share most of their turns
    replies = [encode(pair.reply) for pair in pairs]
    turns = [[encode(turn) for turn in pair.context] for pair in pairs]
    last = [turn[-1] if turn else [] for turn in turns]
    symbols, lengths = flatten([[START, *reply, TURN] for reply in replies])
    grams = [ngram_hashes(symbols, lengths, n, _REPLY) for n in range(1, LONGEST_N + 1)]
    crossed = pair_hashes([t[-CROSSED:] for t in last], [r[:CROSSED] for r in replies], _CROSS)
    blocks = [
        _unit(np.concatenate([rows for rows, _ in grams]), np.concatenate([hashes for _, hashes in grams]), len(pairs)),
        _unit(*crossed, len(pairs)),
    ]
    rows, columns, values = (np.concatenate(part) for part in zip(*blocks, strict=True))
    dense = [_numbers(r, t, [i for turn in all_turns for i in [*turn, TURN]]) for r, t, all_turns in
             zip(replies, last, turns, strict=True)]  # fmt: skip
    return Features(rows, columns, values, np.array(dense, np.float64).reshape(len(pairs), -1))


def _unit(rows: Ids, hashes: Hashes, count: int) -> tuple[Ids, Ids, Floats]:
    """Return each feature of a row once, all with the same value, so that the row has length one."""
    keys = np.sort(rows * BUCKETS + (hashes % np.uint64(BUCKETS)).astype(np.int64))
    keys = keys[np.diff(keys, prepend=-1) > 0]
    rows, columns = keys // BUCKETS, keys % BUCKETS
    return rows, columns, 1 / np.sqrt(np.bincount(rows, minlength=count)[rows])


def _numbers(reply: list[int], last: list[int], context: list[int]) -> list[float]:
    words, pairs = set(reply), set(itertools.pairwise(reply))
    return [
        np.log1p(len(reply)),
        len(words & set(last)) / max(1, len(words)),
        len(words & set(context)) / max(1, len(words)),
        len(pairs & set(itertools.pairwise(last))) / max(1, len(pairs)),
        len(pairs & set(itertools.pairwise(context))) / max(1, len(pairs)),
        float(reply == last),
    ]


def _fit(rows: Ids, columns: Ids, values: Floats, labels: Floats, shares: Floats, size: int) -> Floats:
    """Return the weights [F] that minimise the logistic loss plus decay; the last one is the balance, not decayed."""
    decay = np.full(size, DECAY)
    decay[-1] = 0.0
    weights = torch.zeros(size, dtype=torch.float64)
    solver = torch.optim.LBFGS([weights], max_iter=_ITERATIONS, history_size=8, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        current = weights.numpy()
        margins = labels * _sums(rows, current[columns] * values, len(labels))
        pull = -labels * shares / (1 + np.exp(np.clip(margins, -500, 500)))
        gradient = _sums(columns, pull[rows] * values, size) + decay * current
        weights.grad = torch.from_numpy(gradient)
        return torch.tensor(float(shares @ np.logaddexp(0, -margins) + 0.5 * (decay * current) @ current))

    solver.step(loss)  # type: ignore[no-untyped-call]  # torch's own
    return weights.numpy().copy()


def _sums(places: Ids, values: Floats, size: int) -> Floats:
    """Return the sum of the values of each place, [size]."""
    return np.bincount(places, weights=values, minlength=size).astype(np.float64, copy=False)
