"""From the discriminator's logits to a reward for every token. Pure functions, the Monte-Carlo search apart.

B replies, K samples for each context, N rollouts for each prefix, T tokens. Rewards have the samples' shape, and the
reward of sample i never depends on sample j: that is the baseline's business.
"""

import torch
from torch import Tensor
from torch.nn import functional

from chatbot.bundle import AnyGenerator
from chatbot.decoding import Sampled
from chatbot.discriminator import PairDiscriminator, final_logits
from chatbot.generator.interface import State
from training import ranks
from training.losses import reply_mask
from training.search import in_parts, leave_from, most_branches, roll_out

UNFINISHED_PENALTY = 1.0


def sequence_reward(logits: Tensor, finished: Tensor, clip: float) -> Tensor:
    """Return one reward [B] for each reply from its final logit [B]: clipped, less a penalty when it never ended."""
    return logits.clamp(-clip, clip) - UNFINISHED_PENALTY * (~finished).to(logits.dtype)


def prefix_reward(logits: Tensor, mask: Tensor) -> Tensor:
    """Return D's probability of the prefix that ends at each token, [B, T]: REGS (Li et al. 2017, section 3.2.2)."""
    return torch.sigmoid(logits) * mask


def dense_reward(logits: Tensor, mask: Tensor, discount: float) -> Tensor:
    """Return g_t = sum over s >= t of discount^(s-t) (2 sigmoid(logit_s) - 1), [B, T] (StepGAN, Tuan and Lee 2019).

    Behind its end a reply goes on earning what its last token earned, for ever (an absorbing state: Kostrikov et al.
    2019). With the plain sum up to the end, fewer terms are left near the end, and where D finds most prefixes
    machine-made, so most terms are negative, the end token itself would be the best move: replies shrink.
    """
    signs = (2 * torch.sigmoid(logits) - 1) * mask
    goes_on = functional.pad(mask[:, 1:], (0, 1), value=False)
    returns = torch.zeros_like(signs)
    running = torch.zeros_like(signs[:, 0])
    for t in range(signs.shape[1] - 1, -1, -1):
        running = torch.where(goes_on[:, t], signs[:, t] + discount * running, signs[:, t] / (1 - discount))
        returns[:, t] = running
    return returns


def monte_carlo_reward(
    generator: AnyGenerator,
    discriminator: PairDiscriminator,
    state: State,
    judged: State,
    sampled: Sampled,
    rollouts: int,
    rng: torch.Generator,
) -> Tensor:
    """Return SeqGAN's action value of every token, [B, T]: D's mean probability of N replies that go on from it.

    `state` and `judged` are the encoded contexts of generator and discriminator, one lane for each reply. The last
    token of a reply gets D's probability of the reply itself (Yu et al. 2017, equation 4).
    """
    with torch.no_grad():
        tokens = sampled.tokens
        values = torch.sigmoid(final_logits(discriminator(judged, tokens), tokens))[:, None].repeat(1, tokens.shape[1])
        owner, known = leave_from(sampled.lengths, rollouts)
        seeds = draw_seeds(len(owner), rng, tokens.device)
        scores = torch.empty(len(owner), device=tokens.device)
        for part in in_parts(owner, len(tokens), most_branches(generator)):
            rows, own = torch.unique(owner[part], return_inverse=True)
            ended = roll_out(generator, state.select(rows), tokens[rows], own, known[part], seeds[part])
            scores[part] = torch.sigmoid(final_logits(discriminator(judged.select(owner[part]), ended), ended))
        values[owner[::rollouts], known[::rollouts] - 1] = scores.view(-1, rollouts).mean(1)
        return values * reply_mask(tokens)


def placebo_reward(kind: str, count: int, rng: torch.Generator, device: torch.device) -> Tensor:
    """Return `count` rewards of replies that know nothing of them: `constant` ones, or `noise` (standard normal)."""
    if kind == "constant":
        return torch.ones(count, device=device)
    return torch.randn(count, generator=rng).to(device)


def advantages(components: list[tuple[float, Tensor]], baselines: list[Tensor], mask: Tensor, clip: float) -> Tensor:
    """Return sum over components of weight (reward - baseline) / std of the batch, clipped; all [B, K, T].

    Rewards that hardly differ (std below 1e-3) stay small instead of being blown up to noise of unit size.
    """
    total = torch.zeros_like(mask, dtype=torch.float32)
    for (weight, rewards), baseline in zip(components, baselines, strict=True):
        centred = (rewards - baseline) * mask
        spread = (ranks.total(centred.square().sum()) / ranks.total(mask.sum()).clamp(min=1)).sqrt()
        total = total + weight * centred / spread.clamp(min=1e-3)
    return (total.clamp(-clip, clip) * mask).float()


def draw_seeds(count: int, rng: torch.Generator, device: torch.device) -> Tensor:
    """Return `count` seeds (int64) of replies' own random streams, drawn from `rng` (on the CPU)."""
    return torch.randint(0, 2**62, (count,), generator=rng).to(device)


def widen(per_reply: Tensor, longest: int) -> Tensor:
    """Return [B] as [B, T]: the same reward at every token."""
    return per_reply[:, None].expand(-1, longest)
