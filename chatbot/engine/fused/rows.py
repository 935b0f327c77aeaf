"""The rows that a step works on, in memory that is used again and again, and the layers that work on them.

R rows, D width, N inputs and K outputs of a product.
"""

from typing import Final, cast

import torch
from torch import Tensor, nn

from chatbot.engine.fused import attention, loops
from chatbot.engine.int8 import Int8Linear
from chatbot.generator.trunk import CrossAttention, FeedForward

_FEW: Final = 600_000
"""Multiplications up to which a product is done here: calling the library takes some 14 microseconds. Sums of whole
numbers are exact, so both come to the same."""


class Rows:
    """Memory for the residual stream x [R, D], the codes of what comes next, and their peaks [R]."""

    def __init__(self, width: int, widest: int) -> None:
        """Have codes of at most `widest` numbers a row."""
        self._width, self._widest = width, widest
        self._most = 0
        self.count = self._rounded = 0
        self._x = self._codes = self._peaks = torch.empty(0)
        self._views: dict[tuple[int, int], Tensor] = {}

    def take(self, count: int) -> None:
        """Make the rows R = count from now on."""
        self.count, self._rounded = count, _rounded_up(count)
        if self._rounded > self._most:
            self._most = most = self._rounded
            self._x, self._peaks = torch.empty(most * self._width), torch.empty(most)
            self._codes = torch.empty(most * self._widest, dtype=torch.uint8)
            self._views.clear()
            self.x, self.peaks, self.codes_at = self._x.data_ptr(), self._peaks.data_ptr(), self._codes.data_ptr()

    def codes(self, width: int) -> Tensor:
        """Return the codes as [R or some more, width] (uint8); in those behind the last row stands anything."""
        key = self._rounded, width
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = self._codes[: self._rounded * width].view(key)
        return view


def _rounded_up(count: int) -> int:
    """Return a number of rows that is not smaller, of few: the library prepares for .2 ms for a number new to it."""
    step = 4
    while count > 16 * step:
        step *= 2
    return -(-count // step) * step


class Product:
    """The products of a linear layer."""

    def __init__(self, layer: Int8Linear) -> None:
        self._packed = layer.packed
        self._weight, self._scale = self._packed.codes.data_ptr(), self._packed.scale.data_ptr()
        self._keep = layer
        self.outputs, self.inputs = self._packed.codes.shape
        self.bias = layer.bias.data_ptr()

    def __call__(self, rows: Rows) -> Tensor:
        """Return the codes [R, N] times the weights [R or some more, K] (float32)."""
        if rows.count * self.outputs * self.inputs > _FEW:
            return self._packed.multiply(rows.codes(self.inputs))
        out = torch.empty(rows.count, self.outputs)
        loops.product(rows.codes_at, self._weight, self._scale, out.data_ptr(), rows.count, self.outputs, self.inputs)
        return out


class Norm:
    """The addresses of a layer norm's gain and shift."""

    def __init__(self, layer: nn.Module) -> None:
        assert isinstance(layer, nn.LayerNorm)
        self._keep = layer
        self.gain, self.shift, self.least = layer.weight.data_ptr(), layer.bias.data_ptr(), layer.eps

    def __call__(self, rows: Rows, width: int) -> None:
        """Code the layer norm of x."""
        loops.norm(rows.x, self.gain, self.shift, self.least, rows.codes_at, rows.peaks, rows.count, width)


class Adding:
    """A product that is added to the residual stream, from which a layer norm is coded at once."""

    def __init__(self, layer: nn.Module) -> None:
        self._product = product_of(layer)

    def __call__(self, rows: Rows, following: Norm) -> None:
        """Add the product of the codes to x and code the norm that follows."""
        added = self._product(rows)
        loops.add_norm(
            rows.x,
            added.data_ptr(),
            self._product.bias,
            following.gain,
            following.shift,
            following.least,
            rows.codes_at,
            rows.peaks,
            rows.count,
            self._product.outputs,
        )


class FusedFeedForward:
    """A feed-forward layer on rows."""

    def __init__(self, layer: FeedForward) -> None:
        self.norm = Norm(layer.norm)
        self._expand, self._contract = product_of(layer.expand), Adding(layer.contract)
        self.inner = self._expand.outputs

    def __call__(self, rows: Rows, following: Norm) -> None:
        """Go on from the codes of this layer's norm to those of the one that follows."""
        inner = self._expand(rows)
        loops.activate(inner.data_ptr(), self._expand.bias, rows.codes_at, rows.peaks, rows.count, self.inner)
        self._contract(rows, following)


class FusedCross:
    """Attention to the context, on rows."""

    def __init__(self, layer: CrossAttention) -> None:
        self.norm = Norm(layer.norm)
        self._query, self._out = product_of(layer.query), Adding(layer.out)
        self._key_value = product_of(layer.key_value)
        self._heads = layer.heads

    def __call__(self, rows: Rows, keys: Tensor, values: Tensor, mask: Tensor, following: Norm) -> None:
        """Go on from the codes of this layer's norm to those of the one that follows."""
        query = self._query(rows)
        attention.look_at_context(
            query.data_ptr(),
            self._query.bias,
            keys.data_ptr(),
            values.data_ptr(),
            keys.stride(0),
            keys.stride(1),
            mask.data_ptr(),
            mask.stride(0),
            mask.shape[1],
            rows.codes_at,
            rows.peaks,
            rows.count,
            self._query.outputs,
            self._heads,
        )
        self._out(rows, following)

    def remember(self, rows: Rows, starts: Tensor, longest: int) -> tuple[Tensor, Tensor]:
        """Return keys and values [B, H, S, D/H] (bfloat16) of contexts, whose coded rows begin at `starts` [B + 1]."""
        both = self._key_value(rows)
        contexts, width = len(starts) - 1, self._query.outputs
        keys = torch.zeros(contexts, self._heads, longest, width // self._heads, dtype=torch.bfloat16)
        values = torch.zeros_like(keys)
        attention.remember_contexts(
            both.data_ptr(),
            self._key_value.bias,
            rows.peaks,
            starts.data_ptr(),
            contexts,
            keys.data_ptr(),
            values.data_ptr(),
            longest,
            width,
            self._heads,
        )
        return keys, values


class Projection:
    """A product that is wanted itself: logits, for one."""

    def __init__(self, layer: nn.Module) -> None:
        self._product = product_of(layer)

    def __call__(self, rows: Rows) -> Tensor:
        """Return what the layer makes of the coded rows [R, K] (float32)."""
        out = self._product(rows)[: rows.count]
        loops.finish(out.data_ptr(), self._product.bias, rows.peaks, rows.count, self._product.outputs)
        return out


def product_of(layer: nn.Module) -> Product:
    """Return the product of a layer that is on int8 already."""
    return Product(cast(Int8Linear, layer))
