"""Conditional SeqGAN: policy gradient with D(context, reply) as reward; G and D take turns (Yu et al. 2017; Li et al.
2017, with K samples for each context and per-prefix credit).

B contexts, K samples for each, T reply tokens.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from chatbot.decoding import Sampled, plain_sampling, write_replies
from chatbot.discriminator import Discriminator, final_logits
from chatbot.generator.interface import Generator
from training import baselines, rewards
from training.batches import Batch, Batches
from training.config import AdversarialConfig
from training.losses import (
    kl_estimate,
    negative_log_likelihood,
    policy_gradient,
    reply_mask,
    token_log_probabilities,
)
from training.objectives.discrimination import Discrimination
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
        generator: Generator,
        reference: Generator,
        discrimination: Discrimination,
        batches: Batches,
        config: AdversarialConfig,
        precision: Precision,
        rng: torch.Generator,
    ) -> None:
        self.generator = generator
        self.reference = reference.eval().requires_grad_(False)
        self.discrimination = discrimination
        self.batches = batches
        self.config = config
        self.precision = precision
        self.rng = rng
        self.rate = config.learning_rate
        self.kl_weight = config.kl
        self.optimizer = torch.optim.AdamW(generator.parameters(), lr=self.rate, betas=(0.9, 0.98), weight_decay=0.0)
        self.averages = (baselines.MovingAverage(), baselines.MovingAverage())  # one for each component of a reward

    def step(self, progress: float) -> dict[str, float]:
        """Draw K replies for each context, let D reward them, update G, then D on the same fresh replies."""
        batch = self.batches.next()
        rewarded = self.reward(batch)
        metrics = self.update(batch, rewarded, progress)
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
            seeds = rewards.draw_seeds(len(lanes), self.rng, lanes.device)
            sampled = write_replies(
                self.generator, state, plain_sampling(len(lanes), seeds, self.generator.reply_tokens)
            )
            components = self._rewards(discriminator, batch, lanes, sampled)
        mask = reply_mask(sampled.tokens)
        grouped = (len(batch), config.samples, -1)
        weighted = [(component.weight, component.values.view(grouped)) for component in components]
        subtracted = [
            self._baseline(component.values.view(grouped), component.known.view(grouped), average)
            for component, average in zip(components, self.averages, strict=False)
        ]
        advantages = rewards.advantages(weighted, subtracted, mask.view(grouped), config.advantage_clip)
        mean = float((components[0].values * mask).sum() / mask.sum().clamp(min=1))
        return Rewarded(sampled, advantages.flatten(0, 1), mask, mean)

    def _rewards(self, discriminator: Discriminator, batch: Batch, lanes: Tensor, sampled: Sampled) -> list[Component]:
        """Return the one or two components of the reward."""
        config, (count, longest) = self.config, sampled.tokens.shape
        if config.reward != "discriminator":
            return [Component.of_replies(rewards.placebo_reward(config.reward, count, self.rng, lanes.device), longest)]
        mask = reply_mask(sampled.tokens)
        judged = discriminator.encode(batch.context).select(lanes)
        if config.credit == "mc":
            start = self.generator.encode(batch.context).select(lanes)
            values = rewards.monte_carlo_reward(
                self.generator, discriminator, start, judged, sampled, config.rollouts, self.rng
            )
            return [Component(1.0, values, mask)]
        logits = discriminator(judged, sampled.tokens)
        whole = rewards.sequence_reward(final_logits(logits, sampled.tokens), sampled.finished, config.reward_clip)
        components = [Component.of_replies(whole, longest)]
        if config.credit == "step":
            dense = rewards.dense_reward(logits, mask, config.discount)
            components.append(Component(config.dense_weight, dense, mask))
        return components

    def _baseline(self, values: Tensor, known: Tensor, average: baselines.MovingAverage) -> Tensor:
        if self.config.baseline == "loo":
            return baselines.leave_one_out(values, known)
        if self.config.baseline == "ema":
            return average.value(values, known)
        return torch.zeros_like(values)

    def update(self, batch: Batch, rewarded: Rewarded, progress: float) -> dict[str, float]:
        """Take one step of G: policy gradient on its samples, KL to the MLE model, teacher forcing on human replies."""
        config, tokens, mask = self.config, rewarded.sampled.tokens, rewarded.mask
        lanes = torch.arange(len(batch), device=tokens.device).repeat_interleave(config.samples)
        forcing = config.teacher_forcing + progress * (config.teacher_forcing_end - config.teacher_forcing)
        with autocast(self.precision, tokens.device):
            with torch.no_grad():
                reference = token_log_probabilities(
                    self.reference, self.reference.encode(batch.context).select(lanes), tokens
                )
            _without_dropout(self.generator)  # as it was when the samples were drawn
            sampled = token_log_probabilities(
                self.generator, self.generator.encode(batch.context).select(lanes), tokens
            )
            self.generator.train()
            human = token_log_probabilities(self.generator, self.generator.encode(batch.context), batch.reply)
        policy = policy_gradient(sampled, rewarded.advantages, mask)
        kl = kl_estimate(sampled, reference, mask)
        forced = negative_log_likelihood(human, reply_mask(batch.reply))
        loss = policy + self.kl_weight * kl + forcing * forced
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clip_grad_norm_(self.generator.parameters(), config.clip)
        self.optimizer.step()
        measured = float(kl.detach())
        self._adapt(measured)
        return {
            "g_loss": float(loss.detach()),
            "reward": rewarded.mean_reward,
            "kl": measured,
            "kl_weight": self.kl_weight,
            "nll": float(forced.detach()),
            "gradient_norm": float(norm),
            "learning_rate": self.rate,
            "epochs": self.batches.epochs,
        }

    def _adapt(self, kl: float) -> None:
        """Move the weight of KL so that KL stays near its target (Schulman et al. 2017, the adaptive penalty).

        A weight of 0 in the config leaves the term out for good.
        """
        if not self.config.kl:
            return
        if kl > 1.5 * self.config.kl_target:
            self.kl_weight = min(self.kl_weight * 1.1, 10.0)
        elif kl < self.config.kl_target / 1.5:
            self.kl_weight = max(self.kl_weight / 1.1, 1e-3)

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
        self.rate /= 2
        self.kl_weight = max(self.kl_weight, self.config.kl) * 2

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, weights apart."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "batches": self.batches.state_dict(),
            "rate": self.rate,
            "kl_weight": self.kl_weight,
            "averages": [average.state_dict() for average in self.averages],
            "discrimination": self.discrimination.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.batches.load_state_dict(state["batches"])
        self.rate, self.kl_weight = state["rate"], state["kl_weight"]
        for average, kept in zip(self.averages, state["averages"], strict=True):
            average.load_state_dict(kept)
        self.discrimination.load_state_dict(state["discrimination"])


def _without_dropout(model: nn.Module) -> None:
    """Switch off dropout and nothing else: in evaluation mode cuDNN refuses to go back through a GRU."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
