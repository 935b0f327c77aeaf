"""How a token is drawn from a distribution over a large vocabulary: by inversion, with two short running sums.

Knows logits and hidden states, no recurrence. n rows, N draws from each, V vocabulary, H hidden.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

_BLOCK = 64
_ROWS = 128
"""Rows for each thread whose weights are held at once on a CPU: as many as its cache keeps between two passes."""
_ROWS_ON_GPU = 8192
_NEVER = -1e30
"""The exponent of tokens that fill up the last block: finite, since infinity times the zeros of a product's padding
is not a number."""
_SAFE = 100.0
"""Powers of two up to this, either way, and sums of them over a vocabulary, are far from the ends of float32."""


def draw_tokens(logits: Tensor, uniform: Tensor) -> Tensor:
    """Return a token [n] for each row of logits [n, V], by inversion at `uniform` [n] in [0, 1)."""
    drawn = [
        _draw_some(rows, points)
        for rows, points in zip(torch.split(logits, _rows(logits)), torch.split(uniform, _rows(logits)), strict=True)
    ]
    return torch.cat(drawn)


def _draw_some(logits: Tensor, uniform: Tensor) -> Tensor:
    weights = torch.softmax(logits.float(), dim=1)
    padded = functional.pad(weights, (0, -weights.shape[1] % _BLOCK))
    return _invert(padded, uniform[:, None], logits.shape[1]).squeeze(1)


def _rows(tensor: Tensor) -> int:
    return _ROWS * torch.get_num_threads() if tensor.device.type == "cpu" else _ROWS_ON_GPU


class TokenDrawer:
    """Draw from the distributions that one output layer gives of hidden states, as it stands when this is made.

    The weights of a row are 2^(logit log2 e): of all exponentials, powers of two are the ones that torch computes
    fastest on a CPU, and without the division by their sum, which inversion does not need, a row is passed over twice.
    The bias is one more column of the layer's weights, read by a state that is always 1: added after the product, or
    copied to where the product is to be added, it takes a fifth of the product's own time.
    """

    def __init__(self, output: nn.Linear, temperature: float, largest_state: float) -> None:
        """No entry of a hidden state is larger than `largest_state`, either way."""
        scale = math.log2(math.e) / temperature
        self.vocabulary = len(output.weight)
        layer = torch.cat((output.weight.detach().float(), output.bias.detach().float()[:, None]), 1) * scale
        bound = layer[:, :-1].abs().sum(1).max() * largest_state + layer[:, -1].abs().max()
        self.safe = bool(bound < _SAFE)
        self.layer = functional.pad(layer, (0, 0, 0, -self.vocabulary % _BLOCK))
        self.layer[self.vocabulary :, -1] = _NEVER
        self.rows = _rows(self.layer)

    def __call__(self, hidden: Tensor, uniform: Tensor) -> Tensor:
        """Return tokens [n, N] drawn after hidden states [n, H], by inversion at `uniform` [n, N] in [0, 1)."""
        states = functional.pad(hidden.float(), (0, 1), value=1.0)
        exponents = states.new_empty(min(self.rows, len(states)), len(self.layer))
        parts = zip(torch.split(states, self.rows), torch.split(uniform, self.rows), strict=True)
        return torch.cat([self._draw(some, points, exponents[: len(some)]) for some, points in parts])

    def _draw(self, states: Tensor, uniform: Tensor, exponents: Tensor) -> Tensor:
        torch.mm(states, self.layer.T, out=exponents)
        if not self.safe:
            exponents -= exponents.amax(1, keepdim=True)
        return _invert(exponents.exp2_(), uniform, self.vocabulary)


def _invert(weights: Tensor, uniform: Tensor, vocabulary: int) -> Tensor:
    """Return the tokens [n, N] at `uniform` [n, N] of the running sum of each row of weights [n, V], V whole blocks.

    The running sum is taken over blocks of the vocabulary first and inside the one block that is hit afterwards: over
    V numbers it is the slowest thing about drawing a token on a CPU.
    """
    blocks = weights.view(len(weights), -1, _BLOCK)
    totals = blocks.sum(2).double().cumsum(1)
    point = uniform * totals[:, -1:]
    hit = torch.searchsorted(totals, point, right=True).clamp(max=totals.shape[1] - 1)
    inside = blocks[torch.arange(len(blocks), device=hit.device)[:, None], hit].double().cumsum(2)
    rest = point - functional.pad(totals, (1, 0)).gather(1, hit)
    place = torch.searchsorted(inside, rest[..., None], right=True).squeeze(2)
    # Rounding may leave the point behind its block's last token with any mass: that token is the one meant.
    last = (inside < inside[..., -1:]).sum(2)
    return (hit * _BLOCK + torch.minimum(place, last)).clamp(max=vocabulary - 1)
