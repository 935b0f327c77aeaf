"""Dropout whose random numbers cost little on a CPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEVELS = 2**16


class Dropout(nn.Dropout):
    """Set entries to zero with probability `p`, rounded to a multiple of 2^-16, and scale the others up.

    Drawing one number for each entry is the dearest thing about dropout on a CPU: here four entries share the bits of
    one.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return x, in training with some entries dropped."""
        if not self.training or self.p == 0 or x.device.type != "cpu":
            return functional.dropout(x, self.p, self.training)
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        dropped = round(self.p * _LEVELS)
        kept = bits.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - _LEVELS // 2
        return x * (kept.to(x.dtype) * (_LEVELS / (_LEVELS - dropped)))
