"""The pair discriminator that reads with a pretrained language model: frozen, with a small causal head that learns.

The language model's states tell its samples from human text better than a small classifier's (Zellers et al. 2019), and
they cost one pass, no gradients and, beside a generator with adapters, no memory. B pairs, T reply tokens, D width.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from chatbot.discriminator import PairDiscriminator
from chatbot.generator.interface import State
from chatbot.generator.language_model import LanguageModel
from chatbot.generator.pretrained import keep_what_learns
from chatbot.generator.pretrained_trunk import build_trunk
from chatbot.tokenizer import START


@dataclass(frozen=True)
class HeadConfig:
    """Say how the head is built; stored in the bundle."""

    width: int = 128
    dropout: float = 0.3


class PretrainedDiscriminator(PairDiscriminator):
    """Score prefixes by a GRU over the hidden states that a frozen language model has at their tokens."""

    def __init__(self, language_model: LanguageModel, head: HeadConfig, context_tokens: int, reply_tokens: int) -> None:
        super().__init__()
        self.config = head
        self.language_model = language_model
        network = language_model.twin(sharing=True)
        self.trunk = build_trunk(language_model.config, network, context_tokens, reply_tokens)
        self.norm = nn.LayerNorm(self.trunk.width)
        self.narrow = nn.Linear(self.trunk.width, head.width)
        self.dropout = nn.Dropout(head.dropout)
        self.gru = nn.GRU(head.width, head.width, batch_first=True)
        self.out = nn.Linear(head.width, 1)
        keep_what_learns(self)

    def train(self, mode: bool = True) -> Self:
        """Set the head's mode; the language model stays as it is."""
        super().train(mode)
        self.trunk.eval()
        return self

    @torch.no_grad()
    def encode(self, context: Tensor) -> State:
        """Read contexts [B, S] (int64, PAD on the right)."""
        return self.trunk.encode(context)

    def forward(self, state: State, reply: Tensor) -> Tensor:
        """Return logits [B, T] (float32): entry t judges reply[:, :t+1]; those behind the reply's end mean nothing."""
        with torch.no_grad():
            start = reply.new_full((len(reply), 1), START)
            hidden = self.trunk.unroll(state, torch.cat((start, reply), 1))[:, 1:]
        return self._judge(hidden)

    def judge_soft(self, state: State, soft: Tensor) -> Tensor:
        """Return logits [B, T] (float32) of replies of distributions [B, T, V] in place of tokens."""
        return self._judge(self.trunk.unroll_soft(state, soft)[:, 1:])

    def _judge(self, hidden: Tensor) -> Tensor:
        """Return logits [B, T] (float32) from the language model's states [B, T, D] at the tokens of replies."""
        narrowed = self.dropout(torch.nn.functional.gelu(self.narrow(self.norm(hidden.float()))))
        mixed, _ = self.gru(narrowed)
        logits: Tensor = self.out(self.dropout(mixed + narrowed)).squeeze(-1).float()
        return logits
