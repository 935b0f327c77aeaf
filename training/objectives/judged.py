"""Policy gradient with a judge that never learns, over simulated dialogues: two bots, the same policy, talk to each
other (Li et al. 2016, "Deep Reinforcement Learning for Dialogue Generation").

What the judge says of a turn is `judges`' business, how a dialogue runs `selftalk`'s. Left out of the paper: the policy
starts from maximum likelihood, not from mutual information.

B contexts, K dialogues from each of them, N turns spoken in all of them together, T tokens of a turn.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chatbot.bundle import AnyGenerator
from training import rewards
from training.baselines import leave_one_out
from training.batches import Batch, Batches
from training.config import AdversarialConfig, JudgedConfig
from training.judges import Judge
from training.objectives.discrimination import Discrimination
from training.objectives.policy import Drawn, Policy
from training.precision import Precision, autocast
from training.selftalk import Dullness, SelfTalk, by_dialogue, returns, self_talk

FIRST_TURNS = 2
"""Simulated turns at the start of the stage; from there they grow to `JudgedConfig.turns`."""


@dataclass(frozen=True)
class Rehearsal:
    """Simulated dialogues, what each part of the judge said of their turns [N], and the turns' advantages [N]."""

    talk: SelfTalk
    parts: Mapping[str, Tensor]
    advantages: Tensor


class JudgedDialogues:
    """Teach G by what its turns lead to in talks with itself."""

    def __init__(
        self,
        generator: AnyGenerator,
        reference: AnyGenerator,
        judge: Judge,
        is_dull: Dullness,
        discrimination: Discrimination | None,
        batches: Batches,
        config: AdversarialConfig,
        judged: JudgedConfig,
        precision: Precision,
        rng: torch.Generator,
    ) -> None:
        """`discrimination` is only measured: D is a part of the judge and stays as it is."""
        self.generator = generator
        self.policy = Policy(generator, reference, config, precision)
        self.judge = judge
        self.is_dull = is_dull
        self.discrimination = discrimination
        self.batches = batches
        self.config = config
        self.judged = judged
        self.precision = precision
        self.rng = rng

    def step(self, progress: float) -> dict[str, float]:
        """Simulate K dialogues from each context, judge their turns, and update G on all of them."""
        batch = self.batches.next()
        rehearsal = self.rehearse(batch, turns_at(progress, self.judged.turns))
        talk, mask = rehearsal.talk, rehearsal.talk.mask
        advantages = rewards.widen(rehearsal.advantages, mask.shape[1]) * mask
        lanes = torch.arange(len(mask), device=mask.device)
        metrics = self.policy.step(Drawn(talk.context, lanes, talk.tokens, advantages, mask), batch, progress)
        return {**metrics, **_said(rehearsal), "epochs": self.batches.epochs}

    @torch.no_grad()
    def rehearse(self, batch: Batch, turns: int) -> Rehearsal:
        """Return K dialogues of at most `turns` turns from each context, judged, with the advantage of every turn."""
        config, device = self.config, batch.context.device
        count = len(batch) * config.samples
        self.generator.eval()  # dropout would make sampling and scoring two different policies
        seeds = rewards.draw_seeds(count * turns, self.rng, device).view(count, turns)
        with autocast(self.precision, device):
            contexts = batch.context.repeat_interleave(config.samples, 0)
            talk = self_talk(self.generator, contexts, seeds, self.judge.reference.context_tokens, self.is_dull)
            parts, weights = self._judge(talk)
        grouped = (len(batch), config.samples, turns)
        spoken = by_dialogue(talk, torch.ones_like(talk.dull)).view(grouped)
        components, subtracted = [], []
        for name, values in parts.items():
            worth = by_dialogue(talk, returns(talk, values, self.judged.discount)).view(grouped)
            components.append((weights[name], worth))
            subtracted.append(leave_one_out(worth, spoken))
        advantages = rewards.advantages(components, subtracted, spoken, config.advantage_clip)
        return Rehearsal(talk, parts, advantages.view(count, turns)[talk.dialogue, talk.turn])

    def _judge(self, talk: SelfTalk) -> tuple[dict[str, Tensor], dict[str, float]]:
        kind = self.config.reward
        if kind == "discriminator":
            return self.judge.judge(talk), self.judge.weights
        placebo = rewards.placebo_reward(kind, len(talk.tokens), self.rng, talk.tokens.device)
        return {kind: placebo}, {kind: 1.0}

    def soften(self) -> None:
        """Halve G's learning rate and double the weight of KL: what follows a rollback."""
        self.policy.soften()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, weights apart."""
        return {**self.policy.state_dict(), "batches": self.batches.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.policy.load_state_dict(state)
        self.batches.load_state_dict(state["batches"])


def turns_at(progress: float, most: int) -> int:
    """Return how many turns are simulated: from two they grow evenly to `most` (the paper's curriculum)."""
    return min(most, FIRST_TURNS + int(progress * (most - FIRST_TURNS + 1)))


def _said(rehearsal: Rehearsal) -> dict[str, float]:
    """Return the mean of each part over turns, and how the dialogues went, for the log."""
    talk = rehearsal.talk
    means = {f"reward_{name}": float(values.mean()) for name, values in rehearsal.parts.items()}
    return {
        **means,
        "simulated_turns": float(talk.turns),
        "dialogue_length": float(talk.lengths.float().mean()),
        "dull_turns": float(talk.dull.float().mean()),
        "repeating_turns": float(talk.repeating.float().mean()),
    }
