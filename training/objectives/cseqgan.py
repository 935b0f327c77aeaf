"""Conditional SeqGAN: policy gradient with D(context, reply) as reward; G and D take turns (Yu et al. 2017; Li et al.
2017, with K samples for each context and per-prefix credit).

B contexts, K samples for each, T reply tokens.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chatbot.bundle import AnyGenerator
from chatbot.decoding import Sampled, plain_sampling, write_replies
from chatbot.discriminator import PairDiscriminator, final_logits
from chatbot.generator.interface import Generator
from training import baselines, ranks, rewards
from training.batches import Batch, Batches
from training.config import AdversarialConfig
from training.critic import Critic
from training.losses import reply_mask
from training.objectives.discrimination import Discrimination
from training.objectives.policy import Drawn, Policy
from training.precision import Precision, autocast


@dataclass(frozen=True)
class Component:
    """One part of the reward: values [B * K, T], and where they are known to a baseline, [B * K, T] bool."""

    weight: float
    values: Tensor
    known: Tensor

    @classmethod
    def of_replies(cls, per_reply: Tensor, longest: int) -> "Component":
        """Return a reward [B * K] of whole replies: each has one, however early it ended."""
        values = rewards.widen(per_reply, longest)
        return cls(1.0, values, torch.ones_like(values, dtype=torch.bool))


@dataclass(frozen=True)
class Rewarded:
    """Samples and what each of their tokens earned: advantages and mask [B * K, T], rewards for the log."""

    sampled: Sampled
    advantages: Tensor
    mask: Tensor
    mean_reward: float


class ConditionalSeqGAN:
    """Teach G by D's score of its own replies, and D by G's newest replies."""

    def __init__(
        self,
        generator: AnyGenerator,
        reference: Generator,
        discrimination: Discrimination,
        batches: Batches,
        config: AdversarialConfig,
        precision: Precision,
        rng: torch.Generator,
    ) -> None:
        self.generator = generator
        self.policy = Policy(generator, reference, config, precision)
        self.discrimination = discrimination
        self.batches = batches
        self.config = config
        self.precision = precision
        self.rng = rng
        self.averages = (baselines.MovingAverage(), baselines.MovingAverage())  # one for each component of a reward
        self.critic: Critic | None = None
        self.critic_error = 0.0
        if config.baseline == "critic":
            device = next(generator.parameters()).device
            parts = 2 if config.credit == "step" and config.reward == "discriminator" else 1
            self.critic = Critic(generator.width, parts, config.critic_learning_rate, device)

    def step(self, progress: float) -> dict[str, float]:
        """Draw K replies for each context, let D reward them, update G, then D on the same fresh replies."""
        batch = self.batches.next()
        rewarded = self.reward(batch)
        metrics = self.update(batch, rewarded, progress)
        if self.critic is not None:
            metrics["critic_error"] = self.critic_error
        metrics |= self._update_discriminator(batch, rewarded.sampled.tokens[:: self.config.samples])
        return metrics

    @torch.no_grad()
    def reward(self, batch: Batch) -> Rewarded:
        """Return K replies for each context, drawn from the policy itself, with the advantage of every token."""
        config, discriminator = self.config, self.discrimination.discriminator
        lanes = torch.arange(len(batch), device=batch.context.device).repeat_interleave(config.samples)
        self.generator.eval()  # dropout would make sampling and scoring two different policies
        discriminator.eval()
        with autocast(self.precision, batch.context.device):
            state = self.generator.encode(batch.context).select(lanes)
            seeds = rewards.draw_seeds(len(lanes) * ranks.count(), self.rng, lanes.device)
            seeds = ranks.share(seeds.view(-1, config.samples)).flatten()
            sampled = write_replies(
                self.generator, state, plain_sampling(len(lanes), seeds, self.generator.reply_tokens)
            )
            components = self._rewards(discriminator, batch, lanes, sampled)
            mask = reply_mask(sampled.tokens)
            expected = self._expected(components, batch, lanes, sampled.tokens, mask)
        grouped = (len(batch), config.samples, -1)
        weighted = [(component.weight, component.values.view(grouped)) for component in components]
        subtracted = [
            self._baseline(component.values.view(grouped), component.known.view(grouped), average)
            if value is None
            else value.view(grouped)
            for component, average, value in zip(components, self.averages, expected, strict=False)
        ]
        advantages = rewards.advantages(weighted, subtracted, mask.view(grouped), config.advantage_clip)
        mean = float((components[0].values * mask).sum() / mask.sum().clamp(min=1))
        return Rewarded(sampled, advantages.flatten(0, 1), mask, mean)

    def _rewards(
        self, discriminator: PairDiscriminator, batch: Batch, lanes: Tensor, sampled: Sampled
    ) -> list[Component]:
        """Return the one or two components of the reward."""
        config, (count, longest) = self.config, sampled.tokens.shape
        if config.reward != "discriminator":
            return [
                Component.of_replies(
                    rewards.placebo_reward(config.reward, count, ranks.own_stream(self.rng), lanes.device), longest
                )
            ]
        mask = reply_mask(sampled.tokens)
        judged = discriminator.encode(batch.context).select(lanes)
        if config.credit == "mc":
            start = self.generator.encode(batch.context).select(lanes)
            values = rewards.monte_carlo_reward(
                self.generator, discriminator, start, judged, sampled, config.rollouts, ranks.own_stream(self.rng)
            )
            return [Component(1.0, values, mask)]
        logits = discriminator(judged, sampled.tokens)
        if config.credit == "regs":
            return [Component(1.0, rewards.prefix_reward(logits, mask), mask)]
        whole = rewards.sequence_reward(final_logits(logits, sampled.tokens), sampled.finished, config.reward_clip)
        components = [Component.of_replies(whole, longest)]
        if config.credit == "step":
            dense = rewards.dense_reward(logits, mask, config.discount)
            components.append(Component(config.dense_weight, dense, mask))
        return components

    def _expected(
        self, components: list[Component], batch: Batch, lanes: Tensor, tokens: Tensor, mask: Tensor
    ) -> list[Tensor | None]:
        """Return what the critic expects of each component [B * K, T], then let it learn; without a critic nothing."""
        if self.critic is None:
            return [None] * len(components)
        hidden = self.generator.hidden(self.generator.encode(batch.context).select(lanes), tokens)
        expected = self.critic.value(hidden)
        returns = torch.stack([component.values for component in components], dim=-1)
        self.critic_error = self.critic.learn(hidden, returns, mask)
        return list(expected.unbind(-1))

    def _baseline(self, values: Tensor, known: Tensor, average: baselines.MovingAverage) -> Tensor:
        if self.config.baseline == "loo":
            return baselines.leave_one_out(values, known)
        if self.config.baseline == "ema":
            return average.value(values, known)
        return torch.zeros_like(values)

    def update(self, batch: Batch, rewarded: Rewarded, progress: float) -> dict[str, float]:
        """Take one step of G: policy gradient on its samples, KL to the MLE model, teacher forcing on human replies."""
        tokens = rewarded.sampled.tokens
        lanes = torch.arange(len(batch), device=tokens.device).repeat_interleave(self.config.samples)
        drawn = Drawn(batch.context, lanes, tokens, rewarded.advantages, rewarded.mask)
        metrics = self.policy.step(drawn, batch, progress)
        return {**metrics, "reward": rewarded.mean_reward, "epochs": self.batches.epochs}

    def _update_discriminator(self, batch: Batch, fakes: Tensor) -> dict[str, float]:
        gate = self.discrimination.config
        steps = self.config.discriminator_steps
        if not steps or self.discrimination.accuracy > gate.skip_above:
            return {"d_steps": 0.0}
        metrics: dict[str, float] = {}
        for i in range(steps):
            metrics = self.discrimination.learn(batch, fakes) if i == 0 else self.discrimination.step()
        if self.discrimination.accuracy < gate.extra_below:
            for _ in range(2):
                metrics = self.discrimination.step()
            steps += 2
        return {**metrics, "d_steps": float(steps)}

    def soften(self) -> None:
        """Halve G's learning rate and double the weight of KL: what follows a rollback."""
        self.policy.soften()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, weights apart."""
        return {
            **self.policy.state_dict(),
            "batches": self.batches.state_dict(),
            "averages": [average.state_dict() for average in self.averages],
            "discrimination": self.discrimination.state_dict(),
            "critic": None if self.critic is None else self.critic.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.policy.load_state_dict(state)
        self.batches.load_state_dict(state["batches"])
        for average, kept in zip(self.averages, state["averages"], strict=True):
            average.load_state_dict(kept)
        self.discrimination.load_state_dict(state["discrimination"])
        if self.critic is not None:
            self.critic.load_state_dict(state["critic"])
