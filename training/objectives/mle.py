"""Maximum likelihood by teacher forcing: the standard encoder-decoder framework (Sutskever et al. 2014).

The baseline that everything else is measured against.
"""

from typing import Any

import torch

from chatbot.generator.interface import Generator
from training import ranks
from training.batches import Batches
from training.config import MLEConfig
from training.losses import token_log_probabilities
from training.precision import Precision, autocast


class MaximumLikelihood:
    """Raise the likelihood of human replies."""

    def __init__(self, generator: Generator, batches: Batches, config: MLEConfig, precision: Precision) -> None:
        self.generator = generator
        self.batches = batches
        self.config = config
        self.precision = precision
        self.optimizer = torch.optim.AdamW(
            generator.parameters(),
            lr=config.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.taken = 0
        self.scale = 1.0

    def step(self, progress: float) -> dict[str, float]:
        """Take one step; `progress` through the stage, 0 to 1, sets the learning rate. Return what is to be logged."""
        batch = self.batches.next()
        rate = (
            self.scale
            * self.config.learning_rate
            * min(1.0, (self.taken + 1) / max(1, self.config.warmup))
            * (1 - progress)
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.generator.train()
        mask = batch.taught
        own = mask.sum()
        scale = ranks.weight(own) / own.clamp(min=1)
        self.optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=mask.device)
        parts = (tensor.chunk(self.config.parts) for tensor in (batch.context, batch.reply, mask))
        for context, reply, learnt in zip(*parts, strict=True):
            with autocast(self.precision, context.device):
                taught = token_log_probabilities(self.generator, self.generator.encode(context), reply, learnt)
            part = -scale * taught.sum()
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.detach()
        norm = ranks.clip_gradients(self.generator.parameters(), self.config.clip)
        self.optimizer.step()
        self.taken += 1
        return {
            "nll": float(loss),
            "gradient_norm": float(norm),
            "learning_rate": rate,
            "tokens": float(ranks.total(own)),
            "epochs": self.batches.epochs,
        }

    def soften(self) -> None:
        """Halve the learning rate from here on: what follows a rollback."""
        self.scale /= 2

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, weights apart."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "batches": self.batches.state_dict(),
            "taken": self.taken,
            "scale": self.scale,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.batches.load_state_dict(state["batches"])
        self.taken, self.scale = state["taken"], state["scale"]
