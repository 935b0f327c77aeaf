"""Best of n by the discriminator: the residual energy view of reranking (Deng et al. 2020)."""

import torch
from torch import Tensor

from chatbot.discriminator import PairDiscriminator, final_logits


@torch.no_grad()
def human_probability(discriminator: PairDiscriminator, context: Tensor, lanes: Tensor, reply: Tensor) -> Tensor:
    """Return D's probability [N] that a human wrote each reply [N, T] to context[lanes[i]]; context is [B, S].

    In float64, where a sure D still says less than 1 and sure answers keep their order.
    """
    state = discriminator.encode(context).select(lanes)
    return torch.sigmoid(final_logits(discriminator(state, reply), reply).double())


def best_first(scores: Tensor) -> Tensor:
    """Return the order [N] that puts the highest score first; equal scores keep their order."""
    return torch.sort(scores, descending=True, stable=True).indices
