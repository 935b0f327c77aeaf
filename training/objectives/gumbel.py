"""GAN on Gumbel-softmax samples (Jang et al. 2016; Maddison et al. 2016; for text Kusner and Hernandez-Lobato 2016).

Relaxed samples instead of the distribution: the colder, the nearer they are to one-hot, so that D cannot tell them from
human replies by their form alone, but the more their gradient varies. Hence the annealed temperature; straight-through,
D reads one-hot samples from the start, and the gradient is that of the relaxed ones.
"""

from functools import partial
from typing import Any

import torch

from training.config import GumbelConfig
from training.losses import non_saturating_loss
from training.objectives.relaxed import Players
from training.relaxation import annealed, gumbel_softmax


class GumbelSoftmaxGAN:
    """Let D learn to tell samples from human replies, then let the generator climb D's gradient through its samples."""

    discrimination = None
    """D learns here, from relaxed samples, and is not measured on held-out replies."""

    def __init__(self, players: Players, config: GumbelConfig, rng: torch.Generator) -> None:
        self.players = players
        self.config = config
        self.rng = rng

    def step(self, progress: float) -> dict[str, float]:
        """Take k steps of D, each on new samples, then one of G; all of them at this moment's temperature."""
        temperature = annealed(self.config.temperature, self.config.temperature_end, progress)
        relax = partial(
            gumbel_softmax, temperature=temperature, straight_through=self.config.straight_through, rng=self.rng
        )
        metrics = {"temperature": temperature}
        for _ in range(self.players.config.discriminator_steps):
            metrics |= self.players.tell_apart(relax)
        return metrics | self.players.update_generator(relax, non_saturating_loss, progress)

    def soften(self) -> None:
        """Halve G's learning rate: what follows a rollback."""
        self.players.soften()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, weights apart."""
        return self.players.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.players.load_state_dict(state)
