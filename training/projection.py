"""From hidden states to the log-probability of each chosen token, in as few passes over the vocabulary as there can be.

Knows one output layer; no recurrence and no loss. n rows, V vocabulary, H hidden.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_ROWS = 128
"""Rows for each thread that are passed over at once on a CPU: as many as its cache keeps."""
_ROWS_ON_GPU = 8192
_SAFE = 60.0
"""Powers of two up to this, either way, and sums of them over a vocabulary, are far from the ends of float32."""


def projected_log_probabilities(output: nn.Linear, hidden: Tensor, chosen: Tensor, temperature: float = 1.0) -> Tensor:
    """Return log P of `chosen` [n] under the logits that `output` gives of hidden states [n, H], as [n].

    The product over the vocabulary is of the format that autocast asks for, values and gradients are of the weights'.
    """
    kind = hidden.device.type
    lower = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else output.weight.dtype
    with torch.autocast(kind, enabled=False):
        values: Tensor = _Projected.apply(  # type: ignore[no-untyped-call]
            hidden.to(output.weight.dtype), output.weight, output.bias, chosen, math.log2(math.e) / temperature, lower
        )
    return values


class _Projected(torch.autograd.Function):
    """Cross-entropy of a projection that keeps one tensor over the vocabulary, 2^(logit log2 e), and never divides it.

    On the way back a row's own factors, its normaliser and the slope that arrives, are put to its hidden state of H
    numbers; what remains to be done over V is two products. The chosen tokens' part is gathered from the layer.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, chosen: Tensor, scale: float, lower: torch.dtype
    ) -> Tensor:
        learning = any(ctx.needs_input_grad)
        states, layer, added = hidden.to(lower), (weight * scale).to(lower), (bias * scale).to(lower)
        safe = _fits(hidden, weight, bias, scale)
        powers = states.new_empty(len(hidden) if learning else 0, len(weight))
        values, sums = torch.empty_like(hidden[:, 0]), torch.empty_like(hidden[:, :1])
        for part in _parts(hidden):
            exponents = functional.linear(states[part], layer, added)
            if not safe:  # the normaliser of a row is the same whatever is taken away from all its exponents
                exponents -= exponents.amax(1, keepdim=True)
            values[part] = exponents.gather(1, chosen[part, None]).squeeze(1)
            own = torch.exp2(exponents, out=powers[part] if learning else exponents)
            torch.sum(own, 1, keepdim=True, dtype=sums.dtype, out=sums[part])
        ctx.save_for_backward(powers, sums, hidden, layer, chosen, weight)
        ctx.scale = scale
        return (values - sums.squeeze(1).log2()) * math.log(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        powers, sums, hidden, layer, chosen, weight = ctx.saved_tensors
        slope = gradient[:, None] * (ctx.scale * math.log(2))  # with respect to a logit: 1 / temperature
        share = slope / sums
        expected = (powers @ layer).to(weight.dtype) / ctx.scale
        of_hidden = slope * weight[chosen] - share * expected
        of_weight = -(powers.T @ (share * hidden).to(powers.dtype)).to(weight.dtype)
        of_bias = -(powers.T @ share.to(powers.dtype)).to(weight.dtype).squeeze(1)
        of_weight.index_add_(0, chosen, slope * hidden)
        of_bias.index_add_(0, chosen, slope.squeeze(1))
        return of_hidden, of_weight, of_bias, None, None, None


def _fits(hidden: Tensor, weight: Tensor, bias: Tensor, scale: float) -> bool:
    """Return whether no exponent can be so large that its power must be kept from overflowing.

    Not asked on a GPU, where the host would have to wait for the answer.
    """
    if hidden.device.type != "cpu":
        return False
    largest = hidden.abs().amax() * weight.abs().sum(1).amax() + bias.abs().amax() if len(hidden) else 0.0
    return bool(largest * scale < _SAFE)


def _parts(rows: Tensor) -> list[slice]:
    count = _ROWS * torch.get_num_threads() if rows.device.type == "cpu" else _ROWS_ON_GPU
    return [slice(start, start + count) for start in range(0, len(rows), count)]
