"""A Transformer's contexts and steps on int8 products, with everything between two products in one pass.

B lanes or contexts, S context tokens, T reply tokens, D width, H heads, V vocabulary.
"""

from typing import cast

import torch
from torch import Tensor, nn

from chatbot.engine.fused.attention import look_around, look_back
from chatbot.engine.fused.reading import Embedding
from chatbot.engine.fused.rows import Adding, FusedCross, FusedFeedForward, Norm, Projection, Rows, product_of
from chatbot.generator.interface import State
from chatbot.generator.transformer import (
    DecoderLayer,
    EncoderLayer,
    SelfAttention,
    TransformerState,
    TransformerTrunk,
)
from chatbot.tokenizer import PAD


class _Attention:
    def __init__(self, layer: SelfAttention) -> None:
        self.norm = Norm(layer.norm)
        self._product, self._out = product_of(layer.query_key_value), Adding(layer.out)
        self._width, self._heads = self._product.inputs, layer.heads

    def around(self, rows: Rows, starts: Tensor, following: Norm) -> None:
        """Let the rows of each context look at each other."""
        product = self._product(rows)
        look_around(
            product.data_ptr(),
            self._product.bias,
            starts.data_ptr(),
            len(starts) - 1,
            rows.codes_at,
            rows.peaks,
            self._width,
            self._heads,
        )
        self._out(rows, following)

    def back(self, rows: Rows, keys: Tensor, values: Tensor, position: Tensor, following: Norm) -> None:
        """Let each lane look at what it has written, and put this token into its cache."""
        product = self._product(rows)
        look_back(
            product.data_ptr(),
            self._product.bias,
            keys.data_ptr(),
            values.data_ptr(),
            keys.stride(0),
            keys.stride(1),
            position.data_ptr(),
            rows.codes_at,
            rows.peaks,
            rows.count,
            self._width,
            self._heads,
        )
        self._out(rows, following)


class FusedTransformer:
    """Encode and step as `trunk` does, whose linear layers are on int8."""

    def __init__(self, trunk: TransformerTrunk, projection: nn.Module) -> None:
        self._reading = Embedding(trunk, trunk.context_positions.weight, trunk.reply_positions.weight)
        self._reply_tokens, self._width = trunk.reply_tokens, trunk.config.width
        encoder = [cast(EncoderLayer, layer) for layer in trunk.encoder]
        decoder = [cast(DecoderLayer, layer) for layer in trunk.decoder]
        self._encoder = [(_Attention(layer.attention), FusedFeedForward(layer.feedforward)) for layer in encoder]
        self._decoder = [
            (_Attention(layer.attention), FusedCross(layer.cross), FusedFeedForward(layer.feedforward))
            for layer in decoder
        ]
        # What each layer begins with, which the one before codes, and what the last one's output goes through.
        self._encoder_norms = [*(attention.norm for attention, _ in self._encoder), Norm(trunk.encoder_norm)]
        self._decoder_norms = [*(attention.norm for attention, _, _ in self._decoder), Norm(trunk.decoder_norm)]
        self._projection = Projection(projection)
        widest = max(self._width, trunk.config.feedforward)
        self._contexts, self._lanes = Rows(self._width, widest), Rows(self._width, widest)

    def encode(self, context: Tensor) -> TransformerState:
        """Read contexts [B, S] and return B lanes with empty replies."""
        rows = self._contexts
        starts = self._reading.contexts(rows, context)
        self._encoder_norms[0](rows, self._width)
        for (attention, feedforward), norm in zip(self._encoder, self._encoder_norms[1:], strict=True):
            attention.around(rows, starts, feedforward.norm)
            feedforward(rows, norm)
        memory = [cross.remember(rows, starts, context.shape[1]) for _, cross, _ in self._decoder]
        return TransformerState(memory, context != PAD, [], torch.zeros(len(context), dtype=torch.long))

    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, TransformerState]:
        """Append one token [B] to every lane and return the logits of the next [B, V]."""
        assert isinstance(state, TransformerState)
        rows = self._lanes
        rows.take(len(tokens))
        cache = state.cache or [(self._empty(keys), self._empty(keys)) for keys, _ in state.memory]
        self._reading.tokens(rows, tokens, state.position, min(self._reply_tokens, cache[0][0].shape[2]))
        self._decoder_norms[0](rows, self._width)
        for index, (attention, cross, feedforward) in enumerate(self._decoder):
            attention.back(rows, *cache[index], state.position, cross.norm)
            cross(rows, *state.memory[index], state.mask, feedforward.norm)
            feedforward(rows, self._decoder_norms[index + 1])
        logits = self._projection(rows)
        return logits, TransformerState(state.memory, state.mask, cache, state.position + 1)

    def _empty(self, keys: Tensor) -> Tensor:
        """Return a cache [B, H, T, D/H] for lanes with these keys of their contexts [B, H, S, D/H]."""
        return keys.new_zeros(keys.shape[0], keys.shape[1], self._reply_tokens, keys.shape[3])
