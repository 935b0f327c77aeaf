"""In which number format the products of training run: decided once, by measuring on a CPU, and said in the run."""

import contextlib
import time
from contextlib import AbstractContextManager
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]

_WORTH_IT = 1.3  # bf16 has 8 bits of mantissa: it must buy something


def choose_precision(wanted: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """Return the precision to train in: on a GPU bf16, on a CPU what a product of typical size runs faster in."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    seconds = {dtype: _product_seconds(dtype) for dtype in (torch.float32, torch.bfloat16)}
    return "bf16" if seconds[torch.float32] > _WORTH_IT * seconds[torch.bfloat16] else "fp32"


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
