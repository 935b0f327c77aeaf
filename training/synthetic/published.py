"""SeqGAN as published (Yu et al. 2017): Monte-Carlo search, a convolutional discriminator, their schedule.

Nothing is improved here, so that the paper's number can be reproduced and taken apart: the reward has no baseline. The
same code with a constant in the discriminator's place is the placebo. B sequences, T tokens, N rollouts.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from training.losses import policy_gradient
from training.precision import Precision, autocast
from training.synthetic.cnn import ConvolutionalDiscriminator
from training.synthetic.lstm import START, Carried, SequenceModel

Watch = Callable[[int, SequenceModel, dict[str, float]], None]
"""Told after how many rounds, the model, and what was measured on the way."""

Score = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Turns sequences [B, T], and what goes on from their prefixes [T - 1, B, N, T], into [B] and [T - 1, B, N]."""

_CPU = torch.device("cpu")
_SCORED = 1024
_LANES = 32768
"""Sequences that are rolled out at once."""


@dataclass(frozen=True)
class Schedule:
    """Say who learns how often; the defaults are the published code's."""

    rounds: int = 200
    batch: int = 64
    rollouts: int = 16
    learning_rate: float = 1e-2
    clip: float = 5.0
    rollout_lag: float = 0.8
    """How much of the rollout policy stays when G has taken a step."""
    judge_rate: float = 1e-4
    judge_penalty: float = 0.2
    pretraining: int = 50
    """Sets of fakes, as many as there are reals, before the first round; each is gone through `judge_epochs` times."""
    judge_sets: int = 5
    """Fresh sets of fakes in a round (d-steps)."""
    judge_epochs: int = 3
    evaluate_every: int = 5


class PublishedSeqGAN:
    """Let G and D take turns."""

    def __init__(
        self,
        generator: SequenceModel,
        discriminator: ConvolutionalDiscriminator | None,
        reals: Tensor,
        held_out: Tensor,
        schedule: Schedule,
        precision: Precision,
        rng: torch.Generator,
    ) -> None:
        """Without a discriminator every sequence is worth 1: the placebo."""
        self.generator, self.discriminator = generator, discriminator
        self.reals, self.held_out = reals, held_out
        self.schedule, self.precision, self.rng = schedule, precision, rng
        self.rollout_policy = copy.deepcopy(generator).requires_grad_(False)
        self.optimizer = torch.optim.Adam(generator.parameters(), lr=schedule.learning_rate, fused=True)
        self._first = 0 if discriminator is None else -schedule.pretraining
        self.number = self._first
        """Rounds played; below zero, sets of fakes that D is still to be pretrained on."""
        if discriminator is not None:
            self.judge_optimizer = torch.optim.Adam(discriminator.parameters(), lr=schedule.judge_rate, fused=True)

    def run(self, watch: Watch, keep: Callable[[], None] = lambda: None) -> None:
        """Pretrain D, then play the rounds, from wherever the game stands.

        `watch` sees G before every set of D's pretraining, before the first round, and at the schedule's cadence;
        `keep` is called behind each set and round, and may store `state_dict`.
        """
        plan = self.schedule
        if self.number == self._first:
            watch(self.number, self.generator, self.judge_accuracy())
        while self.number < plan.rounds:
            metrics = {}
            if self.number < 0:
                self.teach_judge()
            else:
                metrics = self.round()
            self.number += 1
            if self.number <= 0 or self.number % plan.evaluate_every == 0 or self.number == plan.rounds:
                watch(self.number, self.generator, metrics | self.judge_accuracy())
            keep()

    def state_dict(self) -> dict[str, Any]:
        """Return all that a game needs to go on from here as if it had not stopped."""
        parts = self._stateful()
        kept: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
        # Dropout draws from torch's own generator.
        return {**kept, "number": self.number, "rng": self.rng.get_state(), "torch": torch.get_rng_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        for name, part in self._stateful().items():
            part.load_state_dict(state[name])
        self.number = state["number"]
        self.rng.set_state(state["rng"])
        torch.set_rng_state(state["torch"])

    def _stateful(self) -> dict[str, Any]:
        parts = {"generator": self.generator, "rollout_policy": self.rollout_policy, "optimizer": self.optimizer}
        if self.discriminator is None:
            return parts
        return {**parts, "discriminator": self.discriminator, "judge_optimizer": self.judge_optimizer}

    def round(self) -> dict[str, float]:
        """Take one step of G, then teach D by fresh sets of fakes."""
        reward = self.teach_generator()
        if self.discriminator is not None:
            for _ in range(self.schedule.judge_sets):
                self.teach_judge()
        return {"reward": reward}

    def teach_generator(self) -> float:
        """Take one step of G by its samples' Monte-Carlo rewards, and return their mean."""
        sequences = self.generator.draw(self.schedule.batch, self.rng)
        rewards = self.rewards(sequences)
        self.generator.train()
        chosen = self.generator.log_probabilities(sequences)
        # The published loss is the sum over tokens; clipping its gradient by norm makes the difference matter.
        loss = policy_gradient(chosen, rewards, torch.ones_like(rewards, dtype=torch.bool)) * rewards.numel()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(self.generator.parameters(), self.schedule.clip)
        self.optimizer.step()
        self._follow()
        return float(rewards.mean())

    def _follow(self) -> None:
        """Let the rollout policy follow G, its embeddings at once and the rest with a lag, as published."""
        lag = self.schedule.rollout_lag
        with torch.no_grad():
            for (name, old), new in zip(
                self.rollout_policy.named_parameters(), self.generator.parameters(), strict=True
            ):
                old.lerp_(new, 1.0 if name.startswith("embedding") else 1 - lag)

    def rewards(self, sequences: Tensor) -> Tensor:
        """Return the action value of every token of sequences [B, T]: D's mean probability over N rollouts."""
        if self.discriminator is None:
            return torch.ones(sequences.shape)
        return monte_carlo(self.rollout_policy, self.score, sequences, self.schedule.rollouts, self.rng)

    @torch.no_grad()
    def score(self, sequences: Tensor, ended: Tensor) -> tuple[Tensor, Tensor]:
        """Return D's probability of sequences [B, T] and of what goes on from their prefixes [T - 1, B, N, T]."""
        assert self.discriminator is not None
        self.discriminator.eval()
        with autocast(self.precision, _CPU):
            return self._probabilities(sequences), torch.sigmoid(self.discriminator.judge_endings(sequences, ended))

    @torch.no_grad()
    def _probabilities(self, sequences: Tensor) -> Tensor:
        assert self.discriminator is not None
        self.discriminator.eval()
        parts = torch.split(sequences, _SCORED)
        with autocast(self.precision, _CPU):
            return torch.cat([torch.sigmoid(self.discriminator(part)) for part in parts])

    def teach_judge(self) -> None:
        """Draw as many fakes as there are reals, and go through both in mixed batches for some epochs."""
        assert self.discriminator is not None
        fakes = self.generator.draw(len(self.reals), self.rng)
        everything = torch.cat((self.reals, fakes))
        labels = torch.cat((torch.ones(len(self.reals)), torch.zeros(len(fakes))))
        self.discriminator.train()
        for _ in range(self.schedule.judge_epochs):
            order = torch.randperm(len(everything), generator=self.rng)
            for chosen in torch.split(order, self.schedule.batch):
                self.judge_step(everything[chosen], labels[chosen])

    def judge_step(self, sequences: Tensor, labels: Tensor) -> None:
        """Take one step of D on sequences [B, T] with labels [B], 1 for real."""
        assert self.discriminator is not None
        with autocast(self.precision, _CPU):
            logits = self.discriminator(sequences)
        loss = functional.binary_cross_entropy_with_logits(logits, labels)
        loss = loss + self.schedule.judge_penalty * self.discriminator.penalty()
        self.judge_optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.judge_optimizer.step()

    def judge_accuracy(self) -> dict[str, float]:
        """Return the share taken for real of fresh fakes, of the training reals, and of reals that D never saw.

        The last is the figure to look at: a D that has memorised its positives calls nothing else real.
        """
        if self.discriminator is None:
            return {}
        sets = {"fakes": self.generator.draw(1000, self.rng), "reals": self.reals[:1000], "held_out": self.held_out}
        return {
            f"{name}_taken_for_real": float((self._probabilities(rows[:1000]) > 0.5).float().mean())
            for name, rows in sets.items()
        }


@torch.no_grad()
def monte_carlo(policy: SequenceModel, score: Score, sequences: Tensor, rollouts: int, rng: torch.Generator) -> Tensor:
    """Return [B, T]: the mean score of N sequences that go on from sequences[:, :t+1] by `policy` (equation 4).

    The last token gets the score of the sequence itself. Prefix states are shared: every sequence is read once, its
    rollouts leave from the states on the way, and all of them are one batch that ends together and is scored at once.
    """
    policy.eval()
    count, length = sequences.shape
    values = torch.empty(count, length)
    noise = [torch.rand(length - 1 - t, count, rollouts, generator=rng) for t in range(length - 1)]
    for rows in torch.split(torch.arange(count), max(1, _LANES // (rollouts * max(1, length - 1)))):
        ended = roll_out(policy, sequences[rows], [uniform[:, rows] for uniform in noise])
        whole, going_on = score(sequences[rows], ended)
        values[rows] = torch.cat((going_on.mean(2), whole[None])).T
    return values


def roll_out(policy: SequenceModel, sequences: Tensor, noise: list[Tensor]) -> Tensor:
    """Return [T - 1, B, N, T]: N sequences that go on from sequences[:, :t+1], for every t but the last.

    `noise` holds for each t the numbers in [0, 1), [T - 1 - t, B, N], that its tokens are drawn by. Sequences that
    leave from prefix t join the batch when the others have reached its next token; their first tokens are drawn from
    the one distribution that they share.
    """
    count, length = sequences.shape
    rollouts = noise[0].shape[2]
    lanes = count * rollouts
    ended = sequences[:, None].expand(-1, rollouts, -1).repeat(length - 1, 1, 1, 1)
    written = ended.view(-1, length)
    drawer = policy.drawer()
    _, carried = policy.advance(torch.full((count, 1), START), None)
    going: Carried = (carried[0][:, :0], carried[1][:, :0])
    for t in range(length - 1):
        alive = t * lanes
        if t:
            hidden, going = policy.advance(written[:alive, t : t + 1], going)
            uniform = torch.cat([noise[earlier][t - earlier].flatten() for earlier in range(t)])
            written[:alive, t + 1] = drawer(hidden[:, 0], uniform[:, None]).squeeze(1)
        hidden, carried = policy.advance(sequences[:, t : t + 1], carried)
        written[alive : alive + lanes, t + 1] = drawer(hidden[:, 0], noise[t][0]).flatten()
        joining = [part.repeat_interleave(rollouts, 1) for part in carried]
        going = (torch.cat((going[0], joining[0]), 1), torch.cat((going[1], joining[1]), 1))
    return ended
