"""The first GAN (Goodfellow et al. 2014, algorithm 1) on text: D reads the generator's softmax vectors themselves.

Here to show why that fails. Human replies are one-hot vectors, the generator's never are: the two supports do not
overlap, so a perfect D exists and is soon found. From then on the Jensen-Shannon divergence stands at log 2 whatever
the generator does, and what D lets through of the minimax loss vanishes (Arjovsky and Bottou 2017). The metrics to see:
`gradient_norm_through_d`, `d_accuracy_training` and `js`.
"""

from typing import Any

from training.config import GanConfig
from training.losses import minimax_loss, non_saturating_loss
from training.objectives.relaxed import Players
from training.relaxation import softmax


class GenerativeAdversarial:
    """Let D learn to tell vectors apart, then let the generator climb D's gradient."""

    discrimination = None
    """D is no judge of token replies."""

    def __init__(self, players: Players, config: GanConfig) -> None:
        self.players = players
        self.loss = {"minimax": minimax_loss, "non-saturating": non_saturating_loss}[config.loss]

    def step(self, progress: float) -> dict[str, float]:
        """Take k steps of D, each on new replies, then one of G."""
        metrics: dict[str, float] = {}
        for _ in range(self.players.config.discriminator_steps):
            metrics = self.players.tell_apart(softmax)
        return metrics | self.players.update_generator(softmax, self.loss, progress)

    def soften(self) -> None:
        """Halve G's learning rate: what follows a rollback."""
        self.players.soften()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, weights apart."""
        return self.players.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.players.load_state_dict(state)
