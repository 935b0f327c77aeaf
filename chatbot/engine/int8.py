"""Linear layers on whole numbers of eight bits: a quarter of the memory to read, and sums that are exact in any order.

N inputs, K outputs of a layer, R rows.
"""

import itertools
import weakref
from dataclasses import dataclass
from typing import Any, Final, Self

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Packed:
    """The weights of one layer [K, N], as they are and as the library wants them, with their scales [K]."""

    codes: Tensor
    weight: Tensor
    scale: Tensor
    zero: Tensor

    @classmethod
    def build(cls, codes: Tensor, scale: Tensor) -> Self:
        """Pack codes [K, N] (int8)."""
        zero = torch.zeros(len(codes), dtype=torch.int32)
        return cls(codes, torch.ops.onednn.qlinear_prepack(codes, None), scale, zero)

    def product(self, codes: Tensor) -> Tensor:
        """Return codes [R, N] (int8, used up) times the weights [R, K]."""
        # It wants bytes around 128, and turning numbers into unsigned bytes takes seven times as long as into signed.
        return self.multiply(codes.view(torch.uint8).bitwise_xor_(128))

    def multiply(self, codes: Tensor) -> Tensor:
        """Return codes [R, N] (uint8, 128 for 0) times the weights [R, K]."""
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            codes, 1.0, 128, self.weight, self.scale, self.zero, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return product


_PACKED: Final[dict[int, Packed]] = {}
"""By key: a recorded step cannot hold what the library has packed."""
_KEYS: Final = itertools.count()
_OPERATORS: Final[Any] = torch.library.Library("rejoinder", "DEF")  # type: ignore[no-untyped-call]
_OPERATORS.define("int8_product(Tensor(a!) codes, int key) -> Tensor")
_OPERATORS.impl("int8_product", lambda codes, key: _PACKED[key].product(codes), "CompositeExplicitAutograd")


class Int8Linear(nn.Module):
    """A linear layer on int8 weights, scaled for each output, and int8 activations, scaled for each row."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        scale = weight.abs().amax(dim=1).clamp(min=1e-12) / 127
        self._key = next(_KEYS)
        _PACKED[self._key] = Packed.build((weight / scale[:, None]).round().to(torch.int8), scale / 127)
        weakref.finalize(self, _PACKED.pop, self._key, None)
        self.bias = torch.zeros(len(weight)) if bias is None else bias.detach().clone()
        self._outputs = len(weight)

    @property
    def packed(self) -> Packed:
        """Return the weights."""
        return _PACKED[self._key]

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., K] of x [..., N]."""
        rows = x.reshape(-1, x.shape[-1])
        peak = rows.abs().amax(dim=1, keepdim=True).clamp_(min=1e-12)  # several times as fast as the norm, or aminmax
        product = torch.ops.rejoinder.int8_product(rows.mul(127 / peak).round_().to(torch.int8), self._key)
        out = torch.addcmul(self.bias, product, peak)
        return out.view(*x.shape[:-1], self._outputs)
