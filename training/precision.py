"""In which number format the products of training run: decided once, by measuring on a CPU, and said in the run."""

import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["fp32", "bf16"]

_WORTH_IT = 1.3  # bf16 has 8 bits of mantissa: it must buy something
_MOST_OFF = 0.1
"""How far a gradient in bf16 may be from that in fp32, as a share of its length, before training keeps to fp32."""


@dataclass(frozen=True)
class Agreement:
    """How far the loss and the gradient of one batch are from those in fp32, as shares of these."""

    loss: float
    gradient: float

    @property
    def close(self) -> bool:
        """Return whether training may go on like this; not a number is no agreement."""
        return self.gradient < _MOST_OFF


def choose_precision(wanted: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """Return the precision to train in: on a GPU bf16, on a CPU what a product of typical size runs faster in."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":  # pragma: no cover - needs a GPU
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if bf16_speed() > _WORTH_IT else "fp32"


def bf16_speed() -> float:
    """Return how many times as fast as in fp32 a product of typical size runs in bf16 on this CPU."""
    seconds = {dtype: _product_seconds(dtype) for dtype in (torch.float32, torch.bfloat16)}
    return seconds[torch.float32] / seconds[torch.bfloat16]


def agreement(model: nn.Module, loss: Callable[[], Tensor], precision: Precision, device: torch.device) -> Agreement:
    """Compare `loss` and its gradient in `model` with the same in fp32; the model is left as it was, without gradient.

    `loss` must draw no random numbers: dropout is the caller's to switch off.
    """
    found = []
    for tried in (precision, "fp32"):
        model.zero_grad(set_to_none=True)
        with autocast(tried, device):
            value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        found.append(
            (float(value.detach()), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        )
    model.zero_grad(set_to_none=True)
    (rough, slope), (exact, true_slope) = found
    return Agreement(abs(rough - exact) / max(abs(exact), 1e-9), float((slope - true_slope).norm() / true_slope.norm()))


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which models run: bf16 products with fp32 weights, or nothing."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _product_seconds(dtype: torch.dtype) -> float:
    left, right = torch.ones(1024, 256, dtype=dtype), torch.ones(1024, 256, dtype=dtype)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        torch.nn.functional.linear(left, right)
        best = min(best, time.perf_counter() - start)
    return best
