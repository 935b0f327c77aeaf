"""The pair discriminator: is this a human's reply to this context? Causal over the reply: one logit for every prefix.

One pass so gives a reward for every token (StepGAN, Tuan and Lee 2019; ScratchGAN, de Masson d'Autume et al. 2019)
where a discriminator of whole replies needs Monte-Carlo rollouts. B pairs, S context tokens, T reply tokens.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from chatbot.generator.interface import State
from chatbot.generator.seq2seq import build_trunk
from chatbot.generator.trunk import TrunkConfig
from chatbot.tokenizer import PAD


class PairDiscriminator(nn.Module, ABC):
    """Score prefixes of replies to contexts, whatever it is made of; a higher logit is more human."""

    @abstractmethod
    def encode(self, context: Tensor) -> State:
        """Read contexts [B, S] (int64, PAD on the right)."""

    @abstractmethod
    def forward(self, state: State, reply: Tensor) -> Tensor:
        """Return logits [B, T] (float32): entry t judges reply[:, :t+1]; those behind the reply's end mean nothing."""

    @abstractmethod
    def judge_soft(self, state: State, soft: Tensor) -> Tensor:
        """Return logits [B, T] (float32) of replies of distributions [B, T, V] in place of tokens, differentiable."""


class Discriminator(PairDiscriminator):
    """Score with a trunk of our own."""

    def __init__(self, config: TrunkConfig, vocabulary_size: int, context_tokens: int, reply_tokens: int) -> None:
        super().__init__()
        self.trunk = build_trunk(config, vocabulary_size, context_tokens, reply_tokens)
        self.head = nn.Linear(config.width, 1)

    def encode(self, context: Tensor) -> State:
        """Read contexts [B, S] (int64, PAD on the right)."""
        return self.trunk.encode(context)

    def forward(self, state: State, reply: Tensor) -> Tensor:
        """Return logits [B, T] (float32): entry t judges reply[:, :t+1]; those behind the reply's end mean nothing."""
        logits: Tensor = self.head(self.trunk.unroll(state, reply)).squeeze(-1).float()
        return logits

    def judge_soft(self, state: State, soft: Tensor) -> Tensor:
        """Return logits [B, T] (float32) of replies of distributions [B, T, V] in place of tokens."""
        logits: Tensor = self.head(self.trunk.read(state, self.trunk.embed_soft(soft))).squeeze(-1).float()
        return logits


def final_logits(logits: Tensor, reply: Tensor) -> Tensor:
    """Return the logit [B] of each whole reply: that of the last token before the padding of reply [B, T]."""
    last = (reply != PAD).sum(1).clamp(min=1) - 1
    return torch.take_along_dim(logits, last[:, None], dim=1).squeeze(1)
