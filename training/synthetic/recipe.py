"""Our own recipe on the oracle's sequences: a discriminator that knows the generator's density, and a dense signal.

The generator's likelihood is known exactly, so the best discriminator of prefixes has a known form (Goodfellow et al.
2014, proposition 1): its logit is log p_real(x_<=t) - log p_G(x_<=t). D therefore is a second, larger language model
phi in p_real's place, regularised well, and G's own density: sum of log phi - log G over the prefix's tokens. It starts
where likelihood leaves it and goes on learning by real against fake. The reward of a token is its own term of the sum,
known for every token of the vocabulary, so the policy gradient needs no samples of actions: it is summed over all of
them (Sutton et al. 2001, "all-actions"), with the exact mean as baseline. B sequences, T tokens, V vocabulary.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from training.losses import prefix_cross_entropy
from training.synthetic.lstm import SequenceModel, sequence_nll
from training.synthetic.published import Watch


@dataclass(frozen=True)
class RecipeSettings:
    """Say how G and phi take turns."""

    rounds: int = 1200
    batch: int = 64
    learning_rate: float = 5e-3
    clip: float = 5.0
    teacher_forcing: float = 0.1
    """Weight of the cross-entropy of real sequences beside the policy gradient."""
    judge_rate: float = 1e-4
    judge_every: int = 0
    """Rounds between two steps of D; 0 leaves phi as likelihood made it."""
    weight_decay: float = 0.0
    evaluate_every: int = 200


def prefix_logits(phi: SequenceModel, generator_logs: Tensor, sequences: Tensor) -> Tensor:
    """Return D's logit of every prefix, [B, T]: the log-ratio of phi to the generator, summed over its tokens."""
    return (phi.log_probabilities(sequences) - generator_logs.detach()).cumsum(1)


def all_actions_policy_gradient(own: Tensor, judged: Tensor) -> Tensor:
    """Return the loss whose gradient is -mean over positions of sum_v grad G(v) (reward(v) - mean reward).

    `own` and `judged` are the logits [positions, V] of the generator and of phi after the same prefixes; the reward of
    token v is log phi(v) - log G(v), taken as given.
    """
    logs = torch.log_softmax(own.float(), dim=1)
    chances = logs.exp()
    reward = (torch.log_softmax(judged.float(), dim=1) - logs).detach()
    advantage = reward - (chances.detach() * reward).sum(1, keepdim=True)
    return -(chances * advantage).sum(1).mean()


class DensityRatioGAN:
    """Let G follow D's signal, and D learn to tell real from fake."""

    def __init__(
        self, generator: SequenceModel, phi: SequenceModel, reals: Tensor, held_out: Tensor,
        settings: RecipeSettings, rng: torch.Generator,
    ) -> None:  # fmt: skip
        self.generator, self.phi = generator, phi
        self.reals, self.held_out, self.settings, self.rng = reals, held_out, settings, rng
        self.optimizer = torch.optim.AdamW(
            generator.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.judge_optimizer = torch.optim.Adam(phi.parameters(), lr=settings.judge_rate, fused=True)

    def run(self, watch: Watch) -> None:
        """Play the rounds, the learning rate falling to nothing; phi's best state on held-out pairs is gone back to."""
        best, kept = self.judge_loss(), copy.deepcopy(self.phi.state_dict())
        watch(0, self.generator, {"judge_held_out_loss": best})
        for number in range(1, self.settings.rounds + 1):
            for group in self.optimizer.param_groups:
                group["lr"] = self.settings.learning_rate * (1 - (number - 1) / self.settings.rounds)
            metrics = {"g_loss": self.teach_generator()}
            if self.settings.judge_every and number % self.settings.judge_every == 0:
                metrics["d_loss"] = self.teach_judge()
            if number % self.settings.evaluate_every == 0 or number == self.settings.rounds:
                if self.settings.judge_every:
                    best_now = float(sequence_nll(self.phi, self.held_out).mean())
                    metrics["judge_held_out_nll"] = best_now
                metrics["judge_held_out_loss"] = loss = self.judge_loss()
                if loss > best + 0.02:  # D has begun to memorise its positives
                    self.phi.load_state_dict(kept)
                else:
                    best, kept = min(best, loss), copy.deepcopy(self.phi.state_dict())
                watch(number, self.generator, metrics)

    def teach_generator(self) -> float:
        """Take one step of G on prefixes of its own sequences, and on real ones."""
        sequences = self.generator.draw(self.settings.batch, self.rng)
        self.phi.eval()
        with torch.no_grad():
            judged = self.phi.output(self.phi.hidden(sequences)).flatten(0, 1)
        self.generator.train()
        own = self.generator.output(self.generator.hidden(sequences)).flatten(0, 1)
        loss = all_actions_policy_gradient(own, judged)
        if self.settings.teacher_forcing:
            loss = loss - self.settings.teacher_forcing * self.generator.log_probabilities(self._some_reals()).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(self.generator.parameters(), self.settings.clip)
        self.optimizer.step()
        return float(loss.detach())

    def teach_judge(self) -> float:
        """Take one step of phi by telling real prefixes from fake ones."""
        reals, fakes = self._some_reals(), self.generator.draw(self.settings.batch, self.rng)
        self.phi.train()
        loss = self._judge_loss(torch.cat((reals, fakes)), len(reals))
        self.judge_optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(self.phi.parameters(), self.settings.clip)
        self.judge_optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def judge_loss(self) -> float:
        """Return D's cross-entropy on held-out real prefixes and fresh fake ones."""
        self.phi.eval()
        reals = self.held_out[:1000]
        return float(self._judge_loss(torch.cat((reals, self.generator.draw(len(reals), self.rng))), len(reals)))

    def _judge_loss(self, sequences: Tensor, reals: int) -> Tensor:
        with torch.no_grad():
            self.generator.eval()
            own = self.generator.log_probabilities(sequences)
        labels = (torch.arange(len(sequences)) < reals).float()
        logits = prefix_logits(self.phi, own, sequences)
        return prefix_cross_entropy(logits, labels, torch.ones(logits.shape, dtype=torch.bool))

    def _some_reals(self) -> Tensor:
        return self.reals[torch.randint(len(self.reals), (self.settings.batch,), generator=self.rng)]
