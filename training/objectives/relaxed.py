"""What the systems that differentiate through D share: the two players with their optimizers, and the generator's step
through D. Which loss each of them descends, and how often, is the objectives' business.

B replies, T reply tokens, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chatbot.bundle import AnyGenerator
from chatbot.discriminator import PairDiscriminator
from training import ranks
from training.batches import Batches
from training.config import AdversarialConfig, DiscriminatorConfig
from training.losses import discrimination_loss, js_estimate
from training.objectives.policy import force, forcing_weight, without_dropout
from training.precision import Precision, autocast
from training.relaxation import Relaxation, one_hot, verdict, write_relaxed


@dataclass(frozen=True)
class Dealt:
    """A batch of pairs for D: human replies, one-hot [B, T, V], and the generator's own, relaxed [B, T', V]."""

    context: Tensor
    human: Tensor
    machine: Tensor


class Players:
    """Hold generator and discriminator, and take the steps that do not depend on the game."""

    def __init__(
        self,
        generator: AnyGenerator,
        discriminator: PairDiscriminator,
        batches: Batches,
        config: AdversarialConfig,
        judging: DiscriminatorConfig,
        precision: Precision,
        *,
        betas: tuple[float, float] = (0.5, 0.98),
    ) -> None:
        """`betas` are those of D's optimizer."""
        self.generator = generator
        self.discriminator = discriminator
        self.batches = batches
        self.config = config
        self.judging = judging
        self.precision = precision
        self.rate = config.learning_rate
        self.optimizer = torch.optim.AdamW(
            generator.parameters(), lr=self.rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
        )
        self.d_optimizer = torch.optim.AdamW(
            discriminator.parameters(),
            lr=judging.learning_rate,
            betas=betas,
            weight_decay=judging.weight_decay,
            fused=True,
        )

    @torch.no_grad()
    def deal(self, relax: Relaxation) -> Dealt:
        """Return the next pairs, with human replies and fresh ones of the generator."""
        batch = self.batches.next()
        self.generator.eval()
        with autocast(self.precision, batch.context.device):
            machine = write_relaxed(self.generator, batch.context, relax)
        return Dealt(batch.context, one_hot(batch.reply, self.generator.vocabulary_size), machine)

    def tell_apart(self, relax: Relaxation) -> dict[str, float]:
        """Take one step of a D that classifies: human replies against relaxed ones (Goodfellow et al. 2014)."""
        dealt = self.deal(relax)
        self.discriminator.train()
        with autocast(self.precision, dealt.context.device):
            human = verdict(self.discriminator, dealt.context, dealt.human)
            machine = verdict(self.discriminator, dealt.context, dealt.machine)
        loss = discrimination_loss(human, machine)
        self.update_discriminator(loss)
        right = torch.cat((human.detach() > 0, machine.detach() <= 0))
        return {
            "d_loss": float(loss.detach()),
            "d_accuracy_training": float(right.float().mean()),
            "js": float(js_estimate(human.detach(), machine.detach())),
        }

    def update_discriminator(self, loss: Tensor) -> None:
        """Descend D's `loss`."""
        self.d_optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        ranks.clip_gradients(self.discriminator.parameters(), self.judging.clip)
        self.d_optimizer.step()

    def update_generator(
        self, relax: Relaxation, loss: Callable[[Tensor], Tensor], progress: float
    ) -> dict[str, float]:
        """Descend `loss` of D's verdicts [B] on fresh replies, through D, and teacher forcing where it has a weight.

        `gradient_norm_through_d` is what D lets through: the gradient of a reply's loss in its own vectors [T, V], its
        norm averaged over replies. The rest of the way, from the vectors into the generator, is not D's doing.
        """
        config, batch = self.config, self.batches.next()
        without_dropout(self.generator)
        without_dropout(self.discriminator)
        with autocast(self.precision, batch.context.device):
            written = write_relaxed(self.generator, batch.context, relax)
            seen = written.detach().requires_grad_()
            verdicts = verdict(self.discriminator, batch.context, seen)
        adversarial = loss(verdicts)
        (gradient,) = torch.autograd.grad(adversarial, seen)
        self.optimizer.zero_grad(set_to_none=True)
        written.backward(gradient)  # type: ignore[no-untyped-call]
        metrics = {"g_loss": float(adversarial.detach())}
        if forcing := forcing_weight(config, progress):
            metrics["nll"] = force(self.generator, batch, forcing, self.precision)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate
        norm = ranks.clip_gradients(self.generator.parameters(), config.clip)
        self.optimizer.step()
        return {
            **metrics,
            "gradient_norm_through_d": float(len(gradient) * gradient.flatten(1).norm(dim=1).mean()),
            "gradient_norm": float(norm),
            "learning_rate": self.rate,
            "epochs": self.batches.epochs,
        }

    def soften(self) -> None:
        """Halve G's learning rate: what follows a rollback."""
        self.rate /= 2

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, weights apart."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "d_optimizer": self.d_optimizer.state_dict(),
            "batches": self.batches.state_dict(),
            "rate": self.rate,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.d_optimizer.load_state_dict(state["d_optimizer"])
        self.batches.load_state_dict(state["batches"])
        self.rate = state["rate"]
