"""Batches of pairs in an order that a seed fixes and a resumed run continues.

B pairs, S longest context, T longest reply of the batch. Pairs of like length stand together, so little is padding, but
where they are asked not to: what a batch has in common, its mismatched replies cannot teach a discriminator.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training import ranks
from training.config import DataConfig
from training.corpus.dataset import Split
from training.errors import RunError
from training.losses import reply_mask

POOL = 32  # batches sorted by length together: enough to leave out most padding, few enough to keep batches random
_SHELF = 4  # batches with replies of like length that are sorted by the lengths of their contexts


@dataclass(frozen=True)
class Batch:
    """Contexts [B, S] and replies [B, T] (int64, PAD on the right)."""

    context: Tensor
    reply: Tensor
    passage: Tensor | None = None
    """Of passages, where `reply` is all that follows: true at the tokens that are learnt [B, T]. See `passages`."""

    @property
    def taught(self) -> Tensor:
        """Return [B, T], true at the tokens that are learnt."""
        return reply_mask(self.reply) if self.passage is None else self.passage

    def __len__(self) -> int:
        return len(self.context)


class Batches:
    """Go through a split in epochs, each in its own random order."""

    def __init__(
        self,
        split: Split,
        size: int,
        data: DataConfig,
        seed: int,
        device: torch.device,
        *,
        by_length: bool = True,
    ) -> None:
        """Raises RunError when the split has fewer than two pairs, or when ranks cannot share a batch of `size`."""
        if len(split) < 2:
            raise RunError(f"the split has {len(split)} pairs, expected at least 2")
        self._split = split
        self._size = min(size, len(split))
        if self._size % ranks.count():
            raise RunError(
                f"batches of {self._size} pairs cannot be shared by {ranks.count()} ranks: expected a multiple"
            )
        self._data = data
        self._seed = seed
        self._device = device
        self._pool = POOL if by_length else 1
        context, reply = split.lengths()
        self._lengths = np.minimum(context, data.context_tokens), np.minimum(reply, data.reply_tokens)
        self._epoch, self._position = 0, 0
        self._order = self._shuffled()

    def next(self) -> Batch:
        """Return the next batch; after the last one of an epoch the next epoch begins."""
        if self._position >= len(self._order):
            self._epoch, self._position = self._epoch + 1, 0
            self._order = self._shuffled()
        indices = self._order[self._position]
        self._position += 1
        return self._batch(indices[ranks.number() :: ranks.count()])

    def _batch(self, indices: NDArray[np.int64]) -> Batch:
        return make_batch(self._split, indices, self._data, self._device)

    @property
    def epochs(self) -> float:
        """Return how often the split has been seen."""
        return self._epoch + self._position / len(self._order)

    def state_dict(self) -> dict[str, int]:
        """Return where in the order this is."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to where `state_dict` was taken."""
        self._epoch, self._position = state["epoch"], state["position"]
        self._order = self._shuffled()

    def _shuffled(self) -> list[NDArray[np.int64]]:
        rng = np.random.default_rng((self._seed, self._epoch))
        order = rng.permutation(len(self._split))
        order = order[: len(order) // self._size * self._size]  # a last short batch would weigh its pairs more
        context, reply = self._lengths
        batches: list[NDArray[np.int64]] = []
        for pool in np.array_split(order, range(self._pool * self._size, len(order), self._pool * self._size)):
            ranked = pool[np.argsort(reply[pool], kind="stable")]
            shelves = np.array_split(ranked, range(_SHELF * self._size, len(ranked), _SHELF * self._size))
            for shelf in shelves:  # replies of like length; among them contexts of like length stand together
                sorted_twice = shelf[np.argsort(context[shelf], kind="stable")]
                batches.extend(np.split(sorted_twice, len(shelf) // self._size))
        return [batches[i] for i in rng.permutation(len(batches))]


def make_batch(split: Split, indices: NDArray[np.int64], data: DataConfig, device: torch.device) -> Batch:
    """Return the pairs `indices` [B] of `split` as one batch."""
    context = torch.from_numpy(split.context_batch(indices, data.context_tokens))
    reply = torch.from_numpy(split.reply_batch(indices, data.reply_tokens))
    return Batch(*on_device((context, reply), device))


def on_device(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Return `tensors` on `device`."""
    if device.type == "cuda":  # pragma: no cover - needs a GPU
        # From pinned memory the copy runs beside the device's work and the host does not wait for it.
        return [tensor.pin_memory().to(device, non_blocking=True) for tensor in tensors]
    return [tensor.to(device) for tensor in tensors]
