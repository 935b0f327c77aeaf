"""Our decoder's weights as those of a GPT-2 that attends to an encoder. Knows tensors and names; not transformers.

GPT-2 adds no bias to its logits. So it is made a little wider than ours: everything that is written to the residual
stream has its mean taken out, which the norms would take out anyway. Numbers that are always zero then change nothing
but the variance, by a factor that is known, and the last norm makes one of them the constant whose weight is the bias.

D width of ours, W width of GPT-2's, H heads, F inner width of the feed-forward.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.transformer import DecoderLayer, TransformerTrunk

Weights = Iterator[tuple[str, Tensor]]


@dataclass(frozen=True)
class Widened:
    """How numbers of our `width` lie among more: each head, too, has one more, which is zero."""

    width: int
    heads: int

    @property
    def outer(self) -> int:
        """Return GPT-2's width."""
        return self.width + self.heads

    @property
    def variance(self) -> float:
        """Return by what the further zeros multiply the variance of numbers whose mean is zero."""
        return self.width / self.outer

    def columns(self, x: Tensor) -> Tensor:
        """Return x [..., D] as [..., W]: zeros behind."""
        return functional.pad(x, (0, self.heads))

    def in_heads(self, x: Tensor) -> Tensor:
        """Return x [..., D], numbers of heads, as [..., W]: a zero behind each head's."""
        return functional.pad(x.reshape(*x.shape[:-1], self.heads, -1), (0, 1)).flatten(-2)

    def written(self, x: Tensor) -> Tensor:
        """Return x [..., D], which is added to the residual stream, as [..., W] without its mean."""
        return self.columns(x - x.mean(-1, keepdim=True))


def decoder_weights(generator: Seq2SeqGenerator, widened: Widened) -> Weights:
    """Yield every weight of the decoder by the name that GPT-2 gives it."""
    trunk = cast(TransformerTrunk, generator.trunk)
    yield "transformer.wte.weight", widened.written(trunk.embedding.weight * widened.width**0.5)
    yield "transformer.wpe.weight", widened.written(trunk.reply_positions.weight)
    for index, module in enumerate(trunk.decoder):
        for name, weight in _layer(cast(DecoderLayer, module), widened):
            yield f"transformer.h.{index}.{name}", weight
    yield from _norm("transformer.ln_f", trunk.decoder_norm, widened, constant=1.0)
    output = widened.columns(trunk.embedding.weight).clone()
    output[:, widened.width] = generator.bias
    yield "lm_head.weight", output


def _layer(layer: DecoderLayer, widened: Widened) -> Weights:
    own, cross, feedforward = layer.attention, layer.cross, layer.feedforward
    query, key, value = own.query_key_value.weight.chunk(3)
    query_bias, key_bias, value_bias = own.query_key_value.bias.chunk(3)
    scale = ((widened.outer / widened.heads) / (widened.width / widened.heads)) ** 0.5  # a head seems wider than it is
    yield from _norm("ln_1", own.norm, widened)
    parts = [(query * scale, query_bias * scale), (key, key_bias), (value, value_bias)]
    yield from _to_heads("attn.c_attn", parts, widened)
    yield from _from_heads("attn.c_proj", own.out, widened)

    key, value = cross.key_value.weight.chunk(2)
    key_bias, value_bias = cross.key_value.bias.chunk(2)
    yield from _norm("ln_cross_attn", cross.norm, widened)
    yield from _to_heads("crossattention.q_attn", [(cross.query.weight * scale, cross.query.bias * scale)], widened)
    yield from _to_heads("crossattention.c_attn", [(key, key_bias), (value, value_bias)], widened)
    yield from _from_heads("crossattention.c_proj", cross.out, widened)

    yield from _norm("ln_2", feedforward.norm, widened)
    yield "mlp.c_fc.weight", widened.columns(feedforward.expand.weight).T
    yield "mlp.c_fc.bias", feedforward.expand.bias
    yield "mlp.c_proj.weight", widened.written(feedforward.contract.weight.T)
    yield "mlp.c_proj.bias", widened.written(feedforward.contract.bias)


def _norm(name: str, norm: nn.LayerNorm, widened: Widened, constant: float = 0.0) -> Weights:
    yield f"{name}.weight", widened.columns(norm.weight * widened.variance**0.5)
    bias = widened.columns(norm.bias).clone()
    bias[widened.width] = constant
    yield f"{name}.bias", bias


def _to_heads(name: str, parts: list[tuple[Tensor, Tensor]], widened: Widened) -> Weights:
    """Yield projections [D, D] into heads, side by side; GPT-2's matrices stand the other way round."""
    weights = [widened.in_heads(widened.columns(weight).T) for weight, _ in parts]
    yield f"{name}.weight", torch.cat(weights, dim=1)
    yield f"{name}.bias", torch.cat([widened.in_heads(bias) for _, bias in parts])


def _from_heads(name: str, linear: nn.Linear, widened: Widened) -> Weights:
    yield f"{name}.weight", widened.written(widened.in_heads(linear.weight).T)
    yield f"{name}.bias", widened.written(linear.bias)
