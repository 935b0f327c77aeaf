"""Wasserstein GAN on softmax vectors: a critic with a gradient penalty (WGAN-GP, Gulrajani et al. 2017, algorithm 1) or
with the divergence's own (WGAN-div, Wu et al. 2018).

A Wasserstein distance falls smoothly as the generator comes nearer, overlap or not, so its gradient stays where that of
the Jensen-Shannon divergence vanishes. Meant for characters: a vector over 256 bytes comes near a one-hot one long
before a vector over thousands of words does.

B replies, T reply tokens, V vocabulary.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from chatbot.discriminator import PairDiscriminator
from training.config import WganConfig
from training.losses import divergence_penalty, gradient_penalty, wasserstein_estimate
from training.objectives.policy import without_dropout
from training.objectives.relaxed import Dealt, Players
from training.relaxation import lengthen, softmax, verdict

BETAS = (0.5, 0.9)
"""Of the critic's Adam (Gulrajani et al. 2017, on text)."""


class WassersteinGAN:
    """Let the critic find how far apart the two sides are, then let the generator go down its slope."""

    discrimination = None
    """A critic's values have no zero: it judges nothing."""

    def __init__(self, players: Players, config: WganConfig, rng: torch.Generator) -> None:
        self.players = players
        self.penalty = {"gp": gradient_penalty, "div": divergence_penalty}[config.penalty]
        self.rng = rng

    def step(self, progress: float) -> dict[str, float]:
        """Take n_critic steps of the critic, each on new replies, then one of G."""
        metrics: dict[str, float] = {}
        for _ in range(self.players.config.discriminator_steps):
            metrics = self._criticise()
        return metrics | self.players.update_generator(softmax, lambda verdicts: -verdicts.mean(), progress)

    def _criticise(self) -> dict[str, float]:
        """Take one step of the critic, in fp32: the penalty's gradient is a second derivative."""
        dealt, critic = self.players.deal(softmax), self.players.discriminator
        without_dropout(critic)  # every mask has a slope of its own
        with twice_differentiable():
            distance = wasserstein_estimate(
                verdict(critic, dealt.context, dealt.human), verdict(critic, dealt.context, dealt.machine)
            )
            gradients = slopes(critic, dealt.context, interpolate(dealt, self.rng))
            penalty = self.penalty(gradients)
            loss = penalty - distance
            self.players.update_discriminator(loss)
        return {
            "d_loss": float(loss.detach()),
            "wasserstein": float(distance.detach()),
            "penalty": float(penalty.detach()),
            "critic_slope": float(gradients.detach().flatten(1).norm(dim=1).mean()),
        }

    def soften(self) -> None:
        """Halve G's learning rate: what follows a rollback."""
        self.players.soften()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, weights apart."""
        return self.players.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.players.load_state_dict(state)


def interpolate(dealt: Dealt, rng: torch.Generator) -> Tensor:
    """Return points [B, T, V], each anywhere on the line between a human reply and the generator's to the same context.

    A reply that has ended goes on saying TURN, so every point is a sequence of distributions.
    """
    longest = max(dealt.human.shape[1], dealt.machine.shape[1])
    human, machine = lengthen(dealt.human, longest), lengthen(dealt.machine, longest)
    share = torch.rand(len(human), 1, 1, generator=rng).to(human.device)
    return share * human + (1 - share) * machine


def slopes(critic: PairDiscriminator, context: Tensor, soft: Tensor) -> Tensor:
    """Return the gradient [B, T, V] of the critic's value of each reply in its vectors, itself differentiable."""
    soft = soft.detach().requires_grad_()
    (gradients,) = torch.autograd.grad(verdict(critic, context, soft).sum(), soft, create_graph=True)
    return gradients


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Keep to the kernels whose gradients have gradients: fused attention and cuDNN's recurrence have none."""
    with sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):
        yield
