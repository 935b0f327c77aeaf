"""SeqGAN's experiment written the plain way, as the open codes of the field have it: the reference of the benchmark.

Correct, and without a trick: fp32, one word at a time, `torch.multinomial` for every draw, N rollouts one after the
other, and for each of them every prefix is read again from its first word, its logits included, as
TextGAN-PyTorch and others do. B sequences, T tokens, V vocabulary, N rollouts.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from training.synthetic.cnn import FILTERS, WIDTHS

Carried = tuple[Tensor, Tensor]


class PlainGenerator(nn.Module):
    """An LSTM language model."""

    def __init__(self, vocabulary: int, length: int, size: int) -> None:
        super().__init__()
        self.length = length
        self.embedding = nn.Embedding(vocabulary, size)
        self.lstm = nn.LSTM(size, size, batch_first=True)
        self.output = nn.Linear(size, vocabulary)

    def forward(self, tokens: Tensor, carried: Carried | None) -> tuple[Tensor, Carried]:
        """Return log-probabilities [B, T, V] after tokens [B, T], and what is carried on."""
        states, carried = self.lstm(self.embedding(tokens), carried)
        return torch.log_softmax(self.output(states), dim=-1), carried

    @torch.no_grad()
    def sample(self, count: int) -> Tensor:
        """Return sequences [count, T]."""
        return self.finish(torch.zeros(count, 0, dtype=torch.long), None, torch.zeros(count, 1, dtype=torch.long))

    @torch.no_grad()
    def finish(self, begun: Tensor, carried: Carried | None, previous: Tensor) -> Tensor:
        """Return sequences [B, T] that begin with `begun`; `previous` [B, 1] has not been read yet."""
        written = [begun]
        for _ in range(self.length - begun.shape[1]):
            logs, carried = self(previous, carried)
            previous = torch.multinomial(logs[:, 0].exp(), 1)
            written.append(previous)
        return torch.cat(written, dim=1)

    @torch.no_grad()
    def rollout(self, sequences: Tensor, given: int) -> Tensor:
        """Return sequences that go on from the first `given` tokens of each, which are read again."""
        previous, carried = torch.zeros(len(sequences), 1, dtype=torch.long), None
        for position in range(given):
            _, carried = self(previous, carried)
            previous = sequences[:, position : position + 1]
        return self.finish(sequences[:, :given], carried, previous)


class PlainDiscriminator(nn.Module):
    """The published convolutional discriminator, with `Conv2d`."""

    def __init__(self, vocabulary: int, length: int, embedding: int = 64) -> None:
        super().__init__()
        sizes = [(width, filters) for width, filters in zip(WIDTHS, FILTERS, strict=True) if width <= length]
        total = sum(filters for _, filters in sizes)
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.convolutions = nn.ModuleList(nn.Conv2d(1, filters, (width, embedding)) for width, filters in sizes)
        self.gate, self.transform = nn.Linear(total, total), nn.Linear(total, total)
        self.dropout = nn.Dropout(0.25)
        self.head = nn.Linear(total, 1)

    def forward(self, sequences: Tensor) -> Tensor:
        """Return logits [B] of sequences [B, T]."""
        embedded = self.embedding(sequences).unsqueeze(1)
        found = [functional.relu(convolution(embedded)).squeeze(3) for convolution in self.convolutions]
        pooled = torch.cat([functional.max_pool1d(f, f.shape[2]).squeeze(2) for f in found], dim=1)
        gate = torch.sigmoid(self.gate(pooled))
        pooled = gate * functional.relu(self.transform(pooled)) + (1 - gate) * pooled
        logits: Tensor = self.head(self.dropout(pooled)).squeeze(1)
        return logits


class PlainSeqGAN:
    """The steps of the two players."""

    def __init__(self, generator: PlainGenerator, discriminator: PlainDiscriminator, rollouts: int) -> None:
        self.generator, self.discriminator, self.rollouts = generator, discriminator, rollouts
        self.optimizer = torch.optim.Adam(generator.parameters(), lr=1e-2)
        self.judge_optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-4)

    def likelihood_step(self, sequences: Tensor) -> None:
        """Take one step of maximum likelihood on sequences [B, T]."""
        self.generator.train()
        before = torch.cat((torch.zeros_like(sequences[:, :1]), sequences[:, :-1]), dim=1)
        logs, _ = self.generator(before, None)
        self._descend(functional.nll_loss(logs.flatten(0, 1), sequences.flatten()))

    def generator_step(self, count: int) -> None:
        """Draw sequences, reward each of their tokens by Monte-Carlo search, and take one policy-gradient step."""
        sequences = self.generator.sample(count)
        rewards = self.rewards(sequences)
        self.generator.train()
        before = torch.cat((torch.zeros_like(sequences[:, :1]), sequences[:, :-1]), dim=1)
        logs, _ = self.generator(before, None)
        chosen = logs.gather(2, sequences[:, :, None]).squeeze(2)
        self._descend(-(chosen * rewards).sum())

    @torch.no_grad()
    def rewards(self, sequences: Tensor) -> Tensor:
        """Return [B, T]: D's mean probability over N rollouts from each prefix."""
        self.generator.eval()
        self.discriminator.eval()
        total = torch.zeros(sequences.shape)
        for _ in range(self.rollouts):
            for given in range(1, sequences.shape[1] + 1):
                total[:, given - 1] += torch.sigmoid(self.discriminator(self.generator.rollout(sequences, given)))
        return total / self.rollouts

    def discriminator_step(self, sequences: Tensor, labels: Tensor) -> None:
        """Take one step of D on sequences [B, T] with labels [B], 1 for real."""
        self.discriminator.train()
        loss = functional.binary_cross_entropy_with_logits(self.discriminator(sequences), labels)
        head = self.discriminator.head
        loss = loss + 0.2 * (head.weight.square().sum() + head.bias.square().sum()) / 2
        self.judge_optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.judge_optimizer.step()

    def _descend(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(self.generator.parameters(), 5.0)
        self.optimizer.step()
