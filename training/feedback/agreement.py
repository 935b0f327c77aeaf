"""How often D prefers what people preferred. P preferences of U different contexts."""

import torch
from torch import Tensor
from torch.nn import functional

from chatbot.discriminator import PairDiscriminator, final_logits
from chatbot.tokenizer import PAD
from training.feedback.encoding import Compared
from training.precision import Precision, autocast

_ROWS = 256


def margins(discriminator: PairDiscriminator, compared: Compared, precision: Precision) -> Tensor:
    """Return D's logit of the chosen reply less that of the rejected one, [P] (float32)."""
    count = len(compared)
    with autocast(precision, compared.context.device):
        lanes = torch.arange(count, device=compared.context.device).repeat(2)
        longest = max(compared.chosen.shape[1], compared.rejected.shape[1])
        replies = torch.cat(
            [functional.pad(r, (0, longest - r.shape[1]), value=PAD) for r in (compared.chosen, compared.rejected)]
        )
        logits = discriminator(discriminator.encode(compared.context).select(lanes), replies)
    final = final_logits(logits, replies)
    return final[:count] - final[count:]


@torch.no_grad()
def all_margins(discriminator: PairDiscriminator, compared: Compared, precision: Precision) -> Tensor:
    """Return the margins of all preferences, [P], a part at a time and without dropout."""
    discriminator.eval()
    parts = torch.split(torch.arange(len(compared), device=compared.context.device), _ROWS)
    return torch.cat([margins(discriminator, compared.select(rows), precision) for rows in parts])


def agreement(margin: Tensor, owner: Tensor) -> Tensor:
    """Return for each context [U] the share of its preferences that D shares; where D is undecided, one half.

    `margin` [P] and `owner` [P], the number of each preference's context. Contexts count alike however many people
    judged them, since judgements of one context are not independent.
    """
    agrees = (margin > 0).double() + 0.5 * (margin == 0).double()
    contexts = int(owner.max()) + 1
    sums = torch.zeros(contexts, dtype=torch.double, device=margin.device).index_add(0, owner, agrees)
    counts = torch.zeros(contexts, dtype=torch.double, device=margin.device).index_add(
        0, owner, torch.ones_like(agrees)
    )
    return sums / counts
