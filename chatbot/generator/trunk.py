"""The part that generator and discriminator share: a context encoder and a causal decoder that gives hidden states.

Knows architectures' common frame only: embeddings, the marks of turns, attention, feed-forward. B lanes, S context
tokens, T reply tokens, D width, H heads.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from chatbot.generator.attention import attend
from chatbot.generator.dropout import Dropout
from chatbot.generator.interface import State
from chatbot.tokenizer import PAD, TURN

Architecture = Literal["recurrent", "transformer"]

MARKED_TURNS = 16
"""Turns of a context further back than this share one mark."""


@dataclass(frozen=True)
class TrunkConfig:
    """Say how a trunk is built; stored in the bundle."""

    architecture: Architecture = "transformer"
    width: int = 256
    encoder_layers: int = 2
    decoder_layers: int = 2
    heads: int = 4
    feedforward: int = 1024
    dropout: float = 0.1


class Trunk(nn.Module, ABC):
    """Encode contexts, then turn reply tokens into hidden states that see the context and no later token."""

    def __init__(self, config: TrunkConfig, vocabulary_size: int, context_tokens: int, reply_tokens: int) -> None:
        super().__init__()
        self.config = config
        self.reply_tokens = reply_tokens
        self.context_tokens = context_tokens
        self.embedding = nn.Embedding(vocabulary_size, config.width, padding_idx=PAD)
        self.turn_marks = nn.Embedding(MARKED_TURNS, config.width)
        self.dropout = Dropout(config.dropout)
        nn.init.normal_(self.embedding.weight, std=config.width**-0.5)
        nn.init.normal_(self.turn_marks.weight, std=0.1)
        with torch.no_grad():
            self.embedding.weight[PAD].zero_()

    @abstractmethod
    def read_context(self, context: Tensor) -> Tensor:
        """Return the encoded contexts [B, S, D] of contexts [B, S]; what stands at padding means nothing."""

    @abstractmethod
    def encode(self, context: Tensor) -> State:
        """Read contexts [B, S] and return B lanes with empty replies."""

    @abstractmethod
    def read(self, state: State, embedded: Tensor) -> Tensor:
        """Read embeddings [B, T, D] from the start of the reply and return hidden states [B, T, D]; t sees up to t."""

    @abstractmethod
    def read_step(self, state: State, embedded: Tensor) -> tuple[Tensor, State]:
        """Read one embedding [B, D] more in every lane and return its hidden state [B, D]."""

    def unroll(self, state: State, tokens: Tensor) -> Tensor:
        """Read tokens [B, T] from the start of the reply and return hidden states [B, T, D]; t sees tokens[:, :t+1]."""
        return self.read(state, self.embed(tokens))

    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, State]:
        """Read one token [B] more in every lane and return its hidden state [B, D]."""
        return self.read_step(state, self.embed(tokens))

    def embed(self, tokens: Tensor) -> Tensor:
        """Return token embeddings [..., D] of unit scale."""
        embedded: Tensor = self.embedding(tokens) * self.config.width**0.5
        return embedded

    def embed_soft(self, soft: Tensor) -> Tensor:
        """Return the expected embedding [..., D] of tokens distributed as `soft` [..., V]; a one-hot row is a token."""
        expected: Tensor = (soft @ self.embedding.weight).to(self.embedding.weight.dtype) * self.config.width**0.5
        return expected

    def embed_context(self, context: Tensor) -> Tensor:
        """Return embeddings [B, S, D] that also say how many turns back a token stands.

        Counting back from the turn to be answered keeps the mark of a turn, and so of its speaker, the same however
        much of the older history was cut off.
        """
        ends = (context == TURN).long()
        back = ends.flip(1).cumsum(1).flip(1) - 1  # the last turn's tokens, its end token included, are 0 turns back
        marks: Tensor = self.turn_marks(back.clamp(0, MARKED_TURNS - 1))
        dropped: Tensor = self.dropout(self.embed(context) + marks)
        return dropped


class FeedForward(nn.Module):
    """Transform each position by itself, before its residual: LayerNorm, expand, GELU, contract."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, inner)
        self.contract = nn.Linear(inner, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return what is to be added to x [..., D]."""
        out: Tensor = self.dropout(self.contract(functional.gelu(self.expand(self.norm(x)))))
        return out


class CrossAttention(nn.Module):
    """Let reply positions look at the encoded context."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.dropout = Dropout(dropout)

    def remember(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values [B, H, S, D/H] of the encoded context [B, S, D], computed once for all steps."""
        keys, values = self.key_value(memory).chunk(2, dim=-1)
        return split_heads(keys, self.heads), split_heads(values, self.heads)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Return what is to be added to x [B, T, D]; mask [B, S] is true at real context tokens."""
        query = split_heads(self.query(self.norm(x)), self.heads)
        seen = attend(query, keys, values, mask[:, None, None, :])
        out: Tensor = self.dropout(self.out(join_heads(seen)))
        return out


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Turn [B, T, D] into [B, H, T, D/H]."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """Turn [B, H, T, D/H] into [B, T, D]."""
    return x.transpose(1, 2).flatten(2)
