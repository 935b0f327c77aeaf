"""Batches of passages: several replies of one dialogue, learnt in one reading.

A pair's context is the context of the pair before it and what was said since. Where a generator reads on behind the end
of a reply (`Generator.reads_on`), one reading of a dialogue gives what a reading of each pair would, with each token
read once. The loss and its gradient are the same; which pairs share a batch is not.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from training import ranks
from training.batches import POOL, Batch, Batches, on_device
from training.config import DataConfig
from training.corpus.dataset import Split


class Passages(Batches):
    """Go through a split in epochs like `Batches`, by passages of together about as many pairs as a batch has."""

    def __init__(self, split: Split, size: int, data: DataConfig, seed: int, device: torch.device) -> None:
        """Raises RunError as `Batches` does."""
        bounds = split.passages(data.context_tokens)
        self._passages = np.stack((bounds[:-1], bounds[1:]), 1)  # the first pair of each, and the one behind its last
        super().__init__(split, size, data, seed, device)

    def _batch(self, indices: NDArray[np.int64]) -> Batch:
        """Return the batch of the passages `indices` [B, 2]."""
        first, behind = indices.T
        context = self._split.context_batch(first, self._data.context_tokens)
        rest, taught = self._split.passage_batch(first, behind, self._data.reply_tokens)
        return Batch(*on_device([torch.from_numpy(array) for array in (context, rest, taught)], self._device))

    def _shuffled(self) -> list[NDArray[np.int64]]:
        rng = np.random.default_rng((self._seed, self._epoch))
        order = rng.permutation(self._passages)
        context, reply = self._lengths
        batches: list[NDArray[np.int64]] = []
        for pool in _cut(order, POOL * self._size):
            last = pool[:, 1] - 1
            batches += _cut(pool[np.argsort(context[last] + reply[last], kind="stable")], self._size)
        # Each rank must have something to learn from; one batch in many is too small for that at worst.
        shared = [
            batch for batch in (_halved(batch, ranks.count()) for batch in batches) if len(batch) >= ranks.count()
        ]
        return [shared[i] for i in rng.permutation(len(shared))]


def _cut(passages: NDArray[np.int64], pairs: int) -> list[NDArray[np.int64]]:
    """Cut passages [n, 2] into parts of about as many pairs each, as near to `pairs` as they go up in them."""
    behind = np.cumsum(passages[:, 1] - passages[:, 0])
    count = max(1, round(behind[-1] / pairs))
    parts = np.split(passages, np.searchsorted(behind, behind[-1] * np.arange(1, count) / count))
    return [part for part in parts if len(part)]


def _halved(passages: NDArray[np.int64], least: int) -> NDArray[np.int64]:
    """Return the same pairs as at least `least` passages, where there are so many pairs."""
    while len(passages) < least:
        longest = int(np.argmax(passages[:, 1] - passages[:, 0]))
        first, behind = passages[longest]
        if behind - first < 2:
            break
        middle = (first + behind) // 2
        passages = np.concatenate((np.delete(passages, longest, 0), [(first, middle), (middle, behind)]))
    return passages
