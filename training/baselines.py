"""What is subtracted from rewards before they become advantages. Pure functions. B contexts, K samples, T tokens.

A discriminator's probability is never negative: without a baseline every sample is reinforced, the bad ones too.
"""

import torch
from torch import Tensor

from training import ranks


def leave_one_out(values: Tensor, mask: Tensor) -> Tensor:
    """Return for each sample the mean of the other K-1 of its context, at the same token (Kool et al. 2019).

    Both [B, K, T]; `mask` says where a sample has a value that the others may be measured against: up to its end for
    a token's own reward, everywhere for the reward of the whole reply. Where no other sample has one, the baseline is
    the sample's own value: nothing to learn there.
    """
    present = mask.to(values.dtype)
    total = (values * present).sum(1, keepdim=True) - values * present
    others = present.sum(1, keepdim=True) - present
    return torch.where(others > 0, total / others.clamp(min=1), values)


class MovingAverage:
    """Follow the mean of the rewards of past batches (Williams 1992)."""

    def __init__(self, decay: float = 0.9) -> None:
        self._decay = decay
        self._mean: float | None = None

    def value(self, values: Tensor, mask: Tensor) -> Tensor:
        """Return the mean before this batch (the first time: of this batch), then take the batch in."""
        current = float(ranks.total((values * mask).sum()) / ranks.total(mask.sum()).clamp(min=1))
        before = current if self._mean is None else self._mean
        self._mean = self._decay * before + (1 - self._decay) * current
        return torch.full_like(values, before)

    def state_dict(self) -> dict[str, float | None]:
        """Return what must be kept."""
        return {"mean": self._mean}

    def load_state_dict(self, state: dict[str, float | None]) -> None:
        """Take up what `state_dict` returned."""
        self._mean = state["mean"]
