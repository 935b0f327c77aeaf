"""A language of sequences of one fixed length: the LSTM that is both oracle and generator in SeqGAN's experiment.

Knows no context, no end token and no text. B sequences, T tokens each, V vocabulary, H hidden.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.drawing import TokenDrawer
from training.projection import projected_log_probabilities

START = 0
"""Read before the first token; as in the published experiment it is also an ordinary token."""
_LANES = 1024

Carried = tuple[Tensor, Tensor]
"""What the LSTM remembers of B sequences: hidden and cell state, each [1, B, H]."""


class SequenceModel(nn.Module):
    """Model P(sequence) with an LSTM (Yu et al. 2017, section 5.1)."""

    def __init__(self, vocabulary: int, length: int, embedding: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.vocabulary, self.length = vocabulary, length
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self.output = nn.Linear(hidden, vocabulary)
        self.dropout = nn.Dropout(dropout)

    def initialise(self, std: float, rng: torch.Generator) -> None:
        """Draw all parameters from a normal distribution, as the published code does for G (.1) and the oracle (1)."""
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=rng) * std)
            cast(Tensor, self.lstm.bias_hh_l0).zero_()  # torch has two biases where the paper has one

    def advance(self, tokens: Tensor, carried: Carried | None) -> tuple[Tensor, Carried]:
        """Read tokens [B, T'] and return hidden states [B, T', H] and what is carried on."""
        states, carried = self.lstm(self.dropout(self.embedding(tokens)), carried)
        return self.dropout(states), carried

    def hidden(self, sequences: Tensor) -> Tensor:
        """Return [B, T, H]: `output` of entry t gives the logits of sequences[:, t] after sequences[:, :t]."""
        before = functional.pad(sequences[:, :-1], (1, 0), value=START)
        return self.advance(before, None)[0]

    def log_probabilities(self, sequences: Tensor, temperature: float = 1.0) -> Tensor:
        """Return log P of each token [B, T] in sequences [B, T], of the distribution sharpened to `temperature`."""
        hidden, chosen = self.hidden(sequences).flatten(0, 1), sequences.flatten()
        return projected_log_probabilities(self.output, hidden, chosen, temperature).view(sequences.shape)

    @torch.no_grad()
    def draw(self, count: int, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Return `count` sequences [count, T] from the model's own distribution, sharpened to `temperature`."""
        self.eval()
        parts = [min(_LANES, count - start) for start in range(0, count, _LANES)]
        empty = torch.empty(0, 0, dtype=torch.long)
        return torch.cat([self.go_on(empty.new_empty(part, 0), None, rng, temperature) for part in parts])

    @torch.no_grad()
    def go_on(self, begun: Tensor, carried: Carried | None, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Return sequences [B, T] that begin with `begun` [B, t]; `carried` has read all of that but the last token."""
        count, known = begun.shape
        sequences = torch.empty(count, self.length, dtype=torch.long)
        sequences[:, :known] = begun
        previous = begun[:, -1:] if known else torch.full((count, 1), START)
        drawer = self.drawer(temperature)
        for position in range(known, self.length):
            states, carried = self.advance(previous, carried)
            previous = drawer(states[:, 0], torch.rand(count, 1, generator=rng))
            sequences[:, position] = previous[:, 0]
        return sequences

    def drawer(self, temperature: float = 1.0) -> TokenDrawer:
        """Return what draws tokens from hidden states, of the output layer as it is now."""
        return TokenDrawer(self.output, temperature, largest_state=1.0)  # an LSTM's states are tanh times a sigmoid


@torch.no_grad()
def sequence_nll(model: SequenceModel, sequences: Tensor, temperature: float = 1.0) -> Tensor:
    """Return nats per token of each sequence [B] under `model`."""
    model.eval()
    parts = torch.split(sequences, _LANES // 2)
    return torch.cat([-model.log_probabilities(part, temperature).mean(1) for part in parts])
