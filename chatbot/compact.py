"""Weights on disk in a byte each: whole numbers of eight bits with a scale for each row, spread out again when read.

A quarter of the size, for bundles that travel. Rows and scales are those of `engine.int8`, so weights that were kept
compact lose nothing more where the engine calculates with whole numbers. Knows nothing of bundles or files.
"""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

SCALE: Final = ".scale"
"""Ends the name of the scales [K] (float32) that belong to codes [K, N] (int8)."""
_LARGEST: Final = 127


def compress(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `weights` with every matrix [K, N] (float32) as codes [K, N] (int8) and scales [K]; vectors stay."""
    packed = {}
    for name, value in weights.items():
        if value.ndim != 2:
            packed[name] = value
            continue
        scale = value.abs().amax(dim=1).clamp(min=1e-12) / _LARGEST
        packed[name] = (value / scale[:, None]).round().to(torch.int8)
        packed[name + SCALE] = scale
    return packed


def expand(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that `compress` packed, as float32.

    What does not belong together is left as it is, so whoever knows the model's own shapes can say what is wrong.
    """
    weights = dict(packed)
    for name, codes in packed.items():
        scale = packed.get(name + SCALE)
        if codes.dtype == torch.int8 and scale is not None and scale.shape == codes.shape[:1]:
            weights[name] = codes.float() * scale[:, None]
            del weights[name + SCALE]
    return weights
