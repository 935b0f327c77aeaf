"""Pre-norm Transformer encoder-decoder (Vaswani et al. 2017; pre-norm: Xiong et al. 2020) as a trunk, with a KV cache.

B lanes, S context tokens, T reply tokens, D width, H heads, L decoder layers.
"""

from dataclasses import dataclass
from typing import Self, cast

import torch
from torch import Tensor, nn

from chatbot.generator.attention import attend, causal_mask
from chatbot.generator.dropout import Dropout
from chatbot.generator.interface import Part, State
from chatbot.generator.trunk import CrossAttention, FeedForward, Trunk, TrunkConfig, join_heads, split_heads
from chatbot.tokenizer import PAD


@dataclass
class TransformerState(State):
    """Hold the context's keys and values of each layer, and the reply's own, written in place as it grows."""

    memory: list[tuple[Tensor, Tensor]]  # L x ([B, H, S, D/H], the same)
    mask: Tensor  # [B, S], true at real tokens
    cache: list[tuple[Tensor, Tensor]]  # L x ([B, H, T, D/H], the same); empty before the first step
    position: Tensor  # [B], tokens read so far

    def select(self, lanes: Tensor) -> Self:
        """Return the state of `lanes`, in that order."""
        return type(self)(
            memory=[(k.index_select(0, lanes), v.index_select(0, lanes)) for k, v in self.memory],
            mask=self.mask.index_select(0, lanes),
            cache=[(k.index_select(0, lanes), v.index_select(0, lanes)) for k, v in self.cache],
            position=self.position.index_select(0, lanes),
        )

    def parts(self) -> list[Part]:
        """Return mask, positions, keys and values of the context, then of the reply once it has begun."""
        memory = [Part(tensor, context=2) for pair in self.memory for tensor in pair]
        cache = [Part(tensor, reply=2) for pair in self.cache for tensor in pair]
        return [Part(self.mask, context=1), Part(self.position), *memory, *cache]

    @property
    def complete(self) -> bool:
        """Return whether the reply has begun."""
        return bool(self.cache)

    def with_parts(self, tensors: list[Tensor]) -> Self:
        """Return the state that these parts make."""
        mask, position, rest = tensors[0], tensors[1], tensors[2:]
        pairs = list(zip(rest[::2], rest[1::2], strict=True))
        layers = len(self.memory)
        return type(self)(pairs[:layers], mask, pairs[layers:], position)


class SelfAttention(nn.Module):
    """Let positions look at each other: all of them, or with a cache those before."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.dropout = Dropout(dropout)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return query, key, value [B, H, T, D/H] of x [B, T, D]."""
        query, key, value = self.query_key_value(self.norm(x)).chunk(3, dim=-1)
        return split_heads(query, self.heads), split_heads(key, self.heads), split_heads(value, self.heads)

    def finish(self, seen: Tensor) -> Tensor:
        """Turn what the heads saw [B, H, T, D/H] into what is to be added to x."""
        out: Tensor = self.dropout(self.out(join_heads(seen)))
        return out


class EncoderLayer(nn.Module):
    """Mix the context's positions both ways."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config.width, config.heads, config.dropout)
        self.feedforward = FeedForward(config.width, config.feedforward, config.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return x [B, S, D] after the layer; mask [B, S] is true at real tokens."""
        query, key, value = self.attention.project(x)
        seen = attend(query, key, value, mask[:, None, None, :])
        x = x + self.attention.finish(seen)
        mixed: Tensor = x + self.feedforward(x)
        return mixed


class DecoderLayer(nn.Module):
    """Mix the reply's positions backwards in time and with the context."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config.width, config.heads, config.dropout)
        self.cross = CrossAttention(config.width, config.heads, config.dropout)
        self.feedforward = FeedForward(config.width, config.feedforward, config.dropout)

    def finish(self, x: Tensor, seen: Tensor, memory: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """Return x [B, T, D] after the layer, given what self-attention saw."""
        x = x + self.attention.finish(seen)
        x = x + self.cross(x, *memory, mask)
        mixed: Tensor = x + self.feedforward(x)
        return mixed


class TransformerTrunk(Trunk):
    """Encode with full attention, decode causally; positions of the context are counted from its end."""

    def __init__(self, config: TrunkConfig, vocabulary_size: int, context_tokens: int, reply_tokens: int) -> None:
        super().__init__(config, vocabulary_size, context_tokens, reply_tokens)
        self.context_positions = nn.Embedding(context_tokens, config.width)
        self.reply_positions = nn.Embedding(reply_tokens, config.width)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.encoder_norm = nn.LayerNorm(config.width)
        self.decoder_norm = nn.LayerNorm(config.width)
        for positions in (self.context_positions, self.reply_positions):
            nn.init.normal_(positions.weight, std=0.1)

    def read_context(self, context: Tensor) -> Tensor:
        """Return the encoded contexts [B, S, D]."""
        mask = context != PAD
        from_end = mask.long().flip(1).cumsum(1).flip(1) - 1
        x = self.embed_context(context) + self.context_positions(from_end.clamp(min=0))
        for layer in self.encoder:
            x = layer(x, mask)
        read: Tensor = self.encoder_norm(x)
        return read

    def encode(self, context: Tensor) -> TransformerState:
        """Read contexts [B, S] and return B lanes with empty replies."""
        mask = context != PAD
        x = self.read_context(context)
        memory = [cast(DecoderLayer, layer).cross.remember(x) for layer in self.decoder]
        return TransformerState(memory, mask, [], mask.new_zeros(context.shape[0], dtype=torch.long))

    def read(self, state: State, embedded: Tensor) -> Tensor:
        """Read embeddings [B, T, D] from the start of the reply and return hidden states [B, T, D]."""
        assert isinstance(state, TransformerState)
        positions = torch.arange(embedded.shape[1], device=embedded.device)
        before = causal_mask(embedded.shape[1], embedded.device)
        x = self.dropout(embedded + self.reply_positions(positions))
        for module, memory in zip(self.decoder, state.memory, strict=True):
            layer = cast(DecoderLayer, module)
            query, key, value = layer.attention.project(x)
            seen = attend(query, key, value, before)
            x = layer.finish(x, seen, memory, state.mask)
        hidden: Tensor = self.decoder_norm(x)
        return hidden

    def read_step(self, state: State, embedded: Tensor) -> tuple[Tensor, TransformerState]:
        """Read one embedding [B, D] more in every lane and return its hidden state [B, D].

        The cache is written in place, but where gradients are kept it is a new one in every step: what attention has
        read must stay as it was for the way back.
        """
        assert isinstance(state, TransformerState)
        lanes = torch.arange(len(embedded), device=embedded.device)
        x = self.dropout(embedded + self.reply_positions(state.position))[:, None]
        cache = state.cache
        put = _scatter if torch.onnx.is_in_onnx_export() else _assign
        length = cache[0][0].shape[2] if cache else self.reply_tokens  # a view of the part in use is enough
        seen_before = torch.arange(length, device=embedded.device) <= state.position[:, None]
        if torch.is_grad_enabled():
            cache = [(keys.clone(), values.clone()) for keys, values in cache]
        for index, (module, memory) in enumerate(zip(self.decoder, state.memory, strict=True)):
            layer = cast(DecoderLayer, module)
            query, key, value = layer.attention.project(x)
            if len(cache) == index:
                shape = (key.shape[0], key.shape[1], self.reply_tokens, key.shape[3])
                cache = [*cache, (key.new_zeros(shape), key.new_zeros(shape))]
            keys, values = cache[index]
            put(keys, lanes, state.position, key)
            put(values, lanes, state.position, value)
            seen = attend(query, keys, values, seen_before[:, None, None, :])
            x = layer.finish(x, seen, memory, state.mask)
        hidden = self.decoder_norm(x)[:, 0]
        return hidden, TransformerState(state.memory, state.mask, cache, state.position + 1)


def _assign(cache: Tensor, lanes: Tensor, position: Tensor, new: Tensor) -> None:
    """Put new [B, H, 1, D/H] into cache [B, H, T, D/H] at each lane's position [B]."""
    cache[lanes, :, position] = new[:, :, 0]


def _scatter(cache: Tensor, lanes: Tensor, position: Tensor, new: Tensor) -> None:
    """Do the same in the one form that ONNX has; here it takes twice the time."""
    cache.scatter_(2, position[:, None, None, None].expand_as(new), new)
