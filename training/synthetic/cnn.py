"""SeqGAN's discriminator: convolutions over a whole sequence, the maximum over time, a highway layer (Zhang and LeCun
2015; Srivastava et al. 2015; the sizes of Yu et al. 2017 for length 20).

Judges finished sequences only, so rewards of prefixes need Monte-Carlo search. B sequences, T tokens, E embedding.
"""

from typing import Any

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
        embedded = self.embedding(sequences)
        if torch.is_autocast_enabled(embedded.device.type):
            embedded = embedded.to(torch.get_autocast_dtype(embedded.device.type))
        found = [
            convolution(_Windows.apply(embedded, width)).amax(1)  # type: ignore[no-untyped-call]
            for width, convolution in zip(self.widths, self.convolutions, strict=True)
        ]
        features = functional.relu(torch.cat(found, dim=1))
        gate = torch.sigmoid(self.gate(features))
        features = gate * functional.relu(self.transform(features)) + (1 - gate) * features
        logits: Tensor = self.head(self.dropout(features)).squeeze(1).float()
        return logits

    def penalty(self) -> Tensor:
        """Return half the squared norm of the last layer, which the published code adds to its loss with weight .2."""
        return (self.head.weight.square().sum() + self.head.bias.square().sum()) / 2


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
