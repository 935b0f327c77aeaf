"""Best of n: by the discriminator, the residual energy view (Deng et al. 2020), or by the generator's own likelihood.

B contexts of S tokens, N replies of T tokens.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from chatbot.discriminator import PairDiscriminator, final_logits
from chatbot.generator.interface import Generator
from chatbot.tokenizer import PAD, TURN, Tokenizer

DULL_TURNS: Final = ("I don't know.", "Yes.", "Okay.", "我不知道。", "是的。", "好的。")
"""What else might have been said last, and tells nothing."""
ANYWAY: Final = 0.8
"""How much of what would be expected anyway is taken off: all of it pays for replies that are expected nowhere."""


@torch.no_grad()
def human_probability(discriminator: PairDiscriminator, context: Tensor, lanes: Tensor, reply: Tensor) -> Tensor:
    """Return D's probability [N] that a human wrote each reply [N, T] to context[lanes[i]]; context is [B, S].

    In float64, where a sure D still says less than 1 and sure answers keep their order.
    """
    state = discriminator.encode(context).select(lanes)
    return torch.sigmoid(final_logits(discriminator(state, reply), reply).double())


@torch.no_grad()
def mutual_information(
    generator: Generator, context: Tensor, dull: Sequence[Tensor], lanes: Tensor, reply: Tensor
) -> Tensor:
    """Return how much more each reply [N, T] is expected after context[lanes[i]] than after a dull last turn, [N].

    log P(reply | context) - 0.8 log mean of P(reply | context with another last turn), in nats: Li et al. 2016, "A
    Diversity-Promoting Objective Function", where the earlier turns stay, so that repeating them earns nothing.
    `context` is [B, S], each of `dull` the same contexts with another last turn, [B, any length].
    """
    own = _log_probability(generator, context, lanes, reply)
    others = torch.stack([_log_probability(generator, other, lanes, reply) for other in dull])
    return own - ANYWAY * (others.logsumexp(0) - torch.tensor(len(dull)).log())


def _log_probability(generator: Generator, context: Tensor, lanes: Tensor, reply: Tensor) -> Tensor:
    hidden = generator.hidden(generator.encode(context).select(lanes), reply)
    said = reply != PAD
    logits = generator.project(hidden[said]).float()
    chosen = logits.gather(1, reply[said][:, None]).squeeze(1) - logits.logsumexp(1)
    return torch.zeros(reply.shape, device=reply.device).masked_scatter(said, chosen).sum(1).double()


def dull_contexts(tokenizer: Tokenizer, context: Sequence[int], most: int) -> list[list[int]]:
    """Return `context`, the ids of turns that are each ended by TURN, with each of the dull turns as its last one.

    Of more than `most` tokens the oldest turns are left out.
    """
    ends = [i + 1 for i, token in enumerate(context) if token == TURN]
    begins = [0, *ends]
    earlier = list(context[: ends[-2]]) if len(ends) > 1 else []
    found = []
    for text in DULL_TURNS:
        turn = [*tokenizer.encode(text), TURN][-most:]
        first = next(i for i in begins if len(earlier) - min(i, len(earlier)) + len(turn) <= most)
        found.append([*earlier[first:], *turn])
    return found


def best_first(scores: Tensor) -> Tensor:
    """Return the order [N] that puts the highest score first; equal scores keep their order."""
    return torch.sort(scores, descending=True, stable=True).indices
