"""GRU encoder-decoder with attention (Cho et al. 2014; Bahdanau et al. 2015; attention after the GRU as in Luong et al.
2015) as a trunk. The decoder's GRU does not wait for the attention's result, so a whole reply unrolls in one call.

B lanes, S context tokens, T reply tokens, D width, L decoder layers.
"""

from dataclasses import dataclass
from typing import Self, cast

import torch
from torch import Tensor, nn

from chatbot.generator.dropout import Dropout
from chatbot.generator.interface import Part, State
from chatbot.generator.trunk import CrossAttention, FeedForward, Trunk, TrunkConfig
from chatbot.tokenizer import PAD


@dataclass
class RecurrentState(State):
    """Hold the context's keys and values of each layer, and each layer's GRU state."""

    memory: list[tuple[Tensor, Tensor]]  # L x ([B, H, S, D/H], the same)
    mask: Tensor  # [B, S], true at real tokens
    carried: list[Tensor]  # L x [B, D]

    def select(self, lanes: Tensor) -> Self:
        """Return the state of `lanes`, in that order."""
        return type(self)(
            memory=[(k.index_select(0, lanes), v.index_select(0, lanes)) for k, v in self.memory],
            mask=self.mask.index_select(0, lanes),
            carried=[c.index_select(0, lanes) for c in self.carried],
        )

    def parts(self) -> list[Part]:
        """Return mask, carried states, keys and values."""
        memory = [Part(tensor, context=2) for pair in self.memory for tensor in pair]
        return [Part(self.mask, context=1), *(Part(c) for c in self.carried), *memory]

    def with_parts(self, tensors: list[Tensor]) -> Self:
        """Return the state that these parts make."""
        mask, rest = tensors[0], tensors[1:]
        layers = len(self.carried)
        memory = rest[layers:]
        return type(self)(list(zip(memory[::2], memory[1::2], strict=True)), mask, rest[:layers])


class BackwardForwardGRU(nn.Module):
    """Read a padded context in both directions, before its residual."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.forward_gru = nn.GRU(width, width // 2, batch_first=True)
        self.backward_gru = nn.GRU(width, width // 2, batch_first=True)
        self.out = nn.Linear(width // 2 * 2, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, reverse: Tensor) -> Tensor:
        """Return what is to be added to x [B, S, D]; `reverse` [B, S] turns real tokens round, padding stays last."""
        x = self.norm(x)
        forwards, _ = self.forward_gru(x)
        # Padding stands behind the real tokens in both directions, so it never reaches their states.
        turned = x.gather(1, reverse[..., None].expand_as(x))
        backwards, _ = self.backward_gru(turned)
        backwards = backwards.gather(1, reverse[..., None].expand_as(backwards))
        out: Tensor = self.dropout(self.out(torch.cat((forwards, backwards), dim=-1)))
        return out


class EncoderLayer(nn.Module):
    """Mix the context's positions both ways."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.recurrence = BackwardForwardGRU(config.width, config.dropout)
        self.feedforward = FeedForward(config.width, config.feedforward, config.dropout)

    def forward(self, x: Tensor, reverse: Tensor) -> Tensor:
        """Return x [B, S, D] after the layer."""
        x = x + self.recurrence(x, reverse)
        mixed: Tensor = x + self.feedforward(x)
        return mixed


class DecoderLayer(nn.Module):
    """Carry the reply so far, look at the context, transform."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.gru = nn.GRU(config.width, config.width, batch_first=True)
        self.dropout = Dropout(config.dropout)
        self.cross = CrossAttention(config.width, config.heads, config.dropout)
        self.feedforward = FeedForward(config.width, config.feedforward, config.dropout)

    def forward(self, x: Tensor, memory: tuple[Tensor, Tensor], mask: Tensor, carried: Tensor) -> tuple[Tensor, Tensor]:
        """Return x [B, T, D] after the layer and what it carries on [B, D]."""
        mixed, last = self.gru(self.norm(x), carried[None].to(x.dtype))
        x = x + self.dropout(mixed)
        x = x + self.cross(x, *memory, mask)
        return x + self.feedforward(x), last[0]


class RecurrentTrunk(Trunk):
    """Encode with a bidirectional GRU, decode with a GRU that attends to the context in every layer."""

    def __init__(self, config: TrunkConfig, vocabulary_size: int, context_tokens: int, reply_tokens: int) -> None:
        super().__init__(config, vocabulary_size, context_tokens, reply_tokens)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.bridge = nn.Linear(config.width, config.width * config.decoder_layers)
        self.encoder_norm = nn.LayerNorm(config.width)
        self.decoder_norm = nn.LayerNorm(config.width)

    def read_context(self, context: Tensor) -> Tensor:
        """Return the encoded contexts [B, S, D]."""
        mask = context != PAD
        positions = torch.arange(context.shape[1], device=context.device)
        turned = mask.sum(1, keepdim=True) - 1 - positions
        reverse = torch.where(turned >= 0, turned, positions)
        x = self.embed_context(context)
        for layer in self.encoder:
            x = layer(x, reverse)
        read: Tensor = self.encoder_norm(x)
        return read

    def encode(self, context: Tensor) -> RecurrentState:
        """Read contexts [B, S] and return B lanes with empty replies."""
        mask = context != PAD
        x = self.read_context(context)
        memory = [cast(DecoderLayer, layer).cross.remember(x) for layer in self.decoder]
        mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        carried = torch.tanh(self.bridge(mean)).chunk(len(self.decoder), dim=-1)
        return RecurrentState(memory, mask, list(carried))

    def read(self, state: State, embedded: Tensor) -> Tensor:
        """Read embeddings [B, T, D] from the start of the reply and return hidden states [B, T, D]."""
        return self._advance(state, embedded)[0]

    def read_step(self, state: State, embedded: Tensor) -> tuple[Tensor, RecurrentState]:
        """Read one embedding [B, D] more in every lane and return its hidden state [B, D]."""
        hidden, state = self._advance(state, embedded[:, None])
        return hidden[:, 0], state

    def _advance(self, state: State, embedded: Tensor) -> tuple[Tensor, RecurrentState]:
        assert isinstance(state, RecurrentState)
        x = self.dropout(embedded)
        carried = []
        for layer, memory, before in zip(self.decoder, state.memory, state.carried, strict=True):
            x, after = layer(x, memory, state.mask, before)
            carried.append(after)
        return self.decoder_norm(x), RecurrentState(state.memory, state.mask, carried)
