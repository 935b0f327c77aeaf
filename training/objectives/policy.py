"""The generator's step that all policy-gradient systems share: policy gradient on its own replies, KL to the frozen MLE
model, teacher forcing on human replies. Where the advantages come from is no business of this file.

N replies, C contexts, T reply tokens.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chatbot.generator.interface import Generator
from training import ranks
from training.batches import Batch
from training.config import AdversarialConfig
from training.losses import (
    kl_estimate,
    negative_log_likelihood,
    policy_gradient,
    reply_mask,
    token_log_probabilities,
)
from training.precision import Precision, autocast

_ROWS, _ROWS_ON_GPU = 128, 1024
"""Replies whose logits over a vocabulary of _VOCABULARY are held at once; gradients of more are added up.

On a CPU more are no faster, and of 512 replies of 24 tokens they take 0.7 GB more.
"""
_VOCABULARY, _FEWEST = 16_384, 8


@dataclass(frozen=True)
class Drawn:
    """The policy's own replies and what their tokens are worth."""

    context: Tensor
    """[C, S]"""
    lanes: Tensor
    """[N]: which of the contexts each reply answers."""
    tokens: Tensor
    """[N, T]"""
    advantages: Tensor
    """[N, T]"""
    mask: Tensor
    """[N, T] bool: the tokens that the policy wrote and is to learn from."""


class Policy:
    """Hold the generator, its optimizer and the weight of KL, and take the generator's steps."""

    def __init__(
        self, generator: Generator, reference: Generator, config: AdversarialConfig, precision: Precision
    ) -> None:
        self.generator = generator
        self.reference = reference.eval().requires_grad_(False)
        self.config = config
        self.precision = precision
        self.rate = config.learning_rate
        self.kl_weight = config.kl
        self.optimizer = torch.optim.AdamW(
            generator.parameters(), lr=self.rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
        )

    def step(self, drawn: Drawn, human: Batch, progress: float) -> dict[str, float]:
        """Take one step of G; `progress` through the stage, 0 to 1, sets the weight of teacher forcing."""
        config = self.config
        forcing = forcing_weight(config, progress)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate
        self.optimizer.zero_grad(set_to_none=True)
        loss, kl = self._learn_from(drawn)
        forced = force(self.generator, human, forcing, self.precision)
        norm = ranks.clip_gradients(self.generator.parameters(), config.clip)
        self.optimizer.step()
        kl = ranks.mean({"kl": kl})["kl"]
        metrics = {
            "g_loss": loss + forcing * forced,
            "kl": kl,
            "nll": forced,
            "gradient_norm": float(norm),
            "learning_rate": self.rate,
        }
        self.adapt(kl)
        return {**metrics, "kl_weight": self.kl_weight}

    def _learn_from(self, drawn: Drawn) -> tuple[float, float]:
        """Add the gradients of policy and KL, a part of the replies at a time; return that loss and the KL."""
        total = (ranks.total(drawn.mask.sum()) / ranks.count()).clamp(min=1)
        loss = kl = 0.0
        without_dropout(self.generator)  # as it was when the samples were drawn
        held = _ROWS if drawn.tokens.device.type == "cpu" else _ROWS_ON_GPU
        held = min(held, max(_FEWEST, held * _VOCABULARY // self.generator.vocabulary_size))
        for rows in torch.split(torch.arange(len(drawn.tokens), device=drawn.tokens.device), held):
            owners, lanes = torch.unique(drawn.lanes[rows], return_inverse=True)
            context, tokens, mask = drawn.context[owners], drawn.tokens[rows], drawn.mask[rows]
            with autocast(self.precision, tokens.device):
                with torch.no_grad():
                    reference = token_log_probabilities(
                        self.reference, self.reference.encode(context).select(lanes), tokens
                    )
                own = token_log_probabilities(self.generator, self.generator.encode(context).select(lanes), tokens)
            distance = kl_estimate(own, reference, mask)
            share = mask.sum() / total
            part = share * (policy_gradient(own, drawn.advantages[rows], mask) + self.kl_weight * distance)
            part.backward()  # type: ignore[no-untyped-call]
            loss += float(part.detach())
            kl += float((share * distance).detach())
        return loss, kl

    def adapt(self, kl: float) -> None:
        """Move the weight of KL so that KL stays near its target (Schulman et al. 2017, the adaptive penalty).

        A weight of 0 in the config leaves the term out for good.
        """
        if not self.config.kl:
            return
        if kl > 1.5 * self.config.kl_target:
            self.kl_weight = min(self.kl_weight * 1.1, 10.0)
        elif kl < self.config.kl_target / 1.5:
            self.kl_weight = max(self.kl_weight / 1.1, 1e-3)

    def soften(self) -> None:
        """Halve G's learning rate and double the weight of KL: what follows a rollback."""
        self.rate /= 2
        self.kl_weight = max(self.kl_weight, self.config.kl) * 2

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, weights apart."""
        return {"optimizer": self.optimizer.state_dict(), "rate": self.rate, "kl_weight": self.kl_weight}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned; other keys are other parts' business."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.rate, self.kl_weight = state["rate"], state["kl_weight"]


def forcing_weight(config: AdversarialConfig, progress: float) -> float:
    """Return the weight of teacher forcing at `progress`, 0 to 1, on a straight line between the config's two."""
    return config.teacher_forcing + progress * (config.teacher_forcing_end - config.teacher_forcing)


def force(generator: Generator, human: Batch, weight: float, precision: Precision) -> float:
    """Add the gradient of the cross-entropy of human replies, times `weight`, and return the cross-entropy."""
    generator.train()
    with autocast(precision, human.context.device):
        taught = token_log_probabilities(generator, generator.encode(human.context), human.reply)
    mask = reply_mask(human.reply)
    forced = negative_log_likelihood(taught, mask) * ranks.weight(mask.sum())
    (weight * forced).backward()  # type: ignore[no-untyped-call]
    return float(forced.detach())


def without_dropout(model: nn.Module) -> None:
    """Switch off dropout and nothing else: in evaluation mode cuDNN refuses to go back through a GRU."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
