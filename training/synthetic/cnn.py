"""SeqGAN's discriminator: convolutions over a whole sequence, the maximum over time, a highway layer (Zhang and LeCun
2015; Srivastava et al. 2015; the sizes of Yu et al. 2017 for length 20).

Judges finished sequences only, so rewards of prefixes need Monte-Carlo search. B sequences, T tokens, E embedding.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20)
FILTERS = (100, 200, 200, 200, 200, 100, 100, 100, 100, 100, 160, 160)


class ConvolutionalDiscriminator(nn.Module):
    """Score whole sequences; a higher logit is more real."""

    def __init__(self, vocabulary: int, length: int, embedding: int = 64, dropout: float = 0.25) -> None:
        super().__init__()
        sizes = [(width, filters) for width, filters in zip(WIDTHS, FILTERS, strict=True) if width <= length]
        total = sum(filters for _, filters in sizes)
        self.widths = [width for width, _ in sizes]
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.convolutions = nn.ModuleList(nn.Linear(width * embedding, filters) for width, filters in sizes)
        self.gate = nn.Linear(total, total)
        self.transform = nn.Linear(total, total)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(total, 1)
        nn.init.constant_(self.gate.bias, -2.0)  # the published highway layer begins by letting its input through
        nn.init.uniform_(self.embedding.weight, -1.0, 1.0)

    def forward(self, sequences: Tensor) -> Tensor:
        """Return logits [B] of sequences [B, T]."""
        embedded = self.embedding(sequences).to(self._format())
        found = [
            convolution(_Windows.apply(embedded, width)).amax(1)  # type: ignore[no-untyped-call]
            for width, convolution in zip(self.widths, self.convolutions, strict=True)
        ]
        return self._judge(torch.cat(found, dim=1))

    def _judge(self, found: Tensor) -> Tensor:
        """Return logits [B] of what the filters have found at most, [B, filters]."""
        features = functional.relu(found)
        gate = torch.sigmoid(self.gate(features))
        features = torch.lerp(features, functional.relu(self.transform(features)), gate)
        logits: Tensor = self.head(self.dropout(features)).squeeze(1).float()
        return logits

    @torch.no_grad()
    def judge_endings(self, sequences: Tensor, ended: Tensor) -> Tensor:
        """Return logits [T - 1, B, N] of `ended` [T - 1, B, N, T], of which entry t begins with sequences[:, :t+1].

        Equal to judging each by itself. Windows that lie inside a prefix are looked at once for all that go on from it,
        and a convolution over embedded tokens is a sum of rows of a table, one row for each token and place in the
        window: for many sequences making the table costs less than it saves.
        """
        prefixes, length = len(ended), sequences.shape[1]
        lanes = ended.flatten(1, 2).int()
        features = ended.new_empty(*ended.shape[:3], len(self.transform.weight), dtype=self._format())
        places = 0
        for width, module in zip(self.widths, self.convolutions, strict=True):
            convolution = cast(nn.Linear, module)
            filters = slice(places, places + len(convolution.weight))
            places = filters.stop
            table = self._table(convolution.weight, width)
            inside = _look_up(table, sequences.int(), width).cummax(1).values
            for t in range(prefixes):
                first = length - width + 1 - min(length - width + 1, length - 1 - t)  # window with a later token
                most = _look_up(table, lanes[t, :, first:], width).amax(1).view(*ended.shape[1:3], -1)
                if first:
                    most = torch.maximum(most, inside[:, None, first - 1])
                torch.add(most, convolution.bias, out=features[t, ..., filters])
        return torch.stack([self._judge(part.flatten(0, 1)).view(part.shape[:2]) for part in features])

    def _table(self, weight: Tensor, width: int) -> Tensor:
        """Return [w V, F]: what filters [F, w E] find in each token at each place of the window."""
        places = weight.view(len(weight), width, -1).transpose(0, 1)
        return torch.stack([functional.linear(self.embedding.weight, place) for place in places]).flatten(0, 1)

    def _format(self) -> torch.dtype:
        """Return the number format of products."""
        kind = self.head.weight.device.type
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.head.weight.dtype

    def penalty(self) -> Tensor:
        """Return half the squared norm of the last layer, which the published code adds to its loss with weight .2."""
        return (self.head.weight.square().sum() + self.head.bias.square().sum()) / 2


def _look_up(table: Tensor, tokens: Tensor, width: int) -> Tensor:
    """Return [B, T - w + 1, F]: for each window of tokens [B, T] the sum of its rows of a table [w V, F]."""
    places = torch.arange(0, len(table), len(table) // width, dtype=torch.int32, device=tokens.device)
    windows = tokens.unfold(1, width, 1)
    found = functional.embedding_bag((windows + places).flatten(0, 1), table, mode="sum")
    return found.view(*windows.shape[:2], -1)


class _Windows(torch.autograd.Function):
    """Cut [B, T, E] into overlapping windows [B, T - w + 1, w E], so that a convolution is one matrix product.

    On CPUs that is several times faster than `conv1d` in bf16, and the backward of a strided view is slower still.
    """

    @staticmethod
    def forward(ctx: Any, embedded: Tensor, width: int) -> Tensor:
        batch, length, size = embedded.shape
        ctx.shape, ctx.width = embedded.shape, width
        strides = (length * size, size, 1)
        return embedded.contiguous().as_strided((batch, length - width + 1, width * size), strides).contiguous()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        size, places = ctx.shape[2], gradient.shape[1]
        total = gradient.new_zeros(ctx.shape)
        for offset in range(ctx.width):
            total[:, offset : offset + places] += gradient[:, :, offset * size : (offset + 1) * size]
        return total, None
