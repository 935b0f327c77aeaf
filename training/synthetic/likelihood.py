"""Maximum likelihood on the oracle's sequences: as the paper did it, and tuned. B sequences, T tokens."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from training.precision import Precision, autocast
from training.synthetic.lstm import SequenceModel, sequence_nll

Watch = Callable[[int, SequenceModel], None]
"""Told after how many epochs the model is shown."""


@dataclass(frozen=True)
class LikelihoodSettings:
    """Say how long and how carefully; the defaults are the paper's 120 epochs without any regularisation."""

    epochs: int = 120
    batch: int = 64
    learning_rate: float = 1e-2
    decay: bool = False
    """Let the learning rate fall to nothing in a straight line."""
    dropout: float = 0.0
    weight_decay: float = 0.0
    """Decoupled (Loshchilov and Hutter 2019)."""
    early_stopping: bool = False
    """Keep the epoch with the lowest held-out NLL instead of the last one."""
    clip: float = 5.0


PAPER = LikelihoodSettings()


def maximum_likelihood(
    model: SequenceModel,
    sequences: Tensor,
    held_out: Tensor,
    settings: LikelihoodSettings,
    rng: torch.Generator,
    watch: Watch,
    precision: Precision = "fp32",
) -> None:
    """Train `model` in place on sequences [B, T]; `held_out` is looked at for early stopping only."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    batches = max(1, len(sequences) // settings.batch)
    best, kept = math.inf, None
    for epoch in range(settings.epochs):
        model.train()
        order = torch.randperm(len(sequences), generator=rng)
        for index in range(batches):
            if settings.decay:
                share = (epoch + index / batches) / settings.epochs
                for group in optimizer.param_groups:
                    group["lr"] = settings.learning_rate * (1 - share)
            chosen = sequences[order[index * settings.batch : (index + 1) * settings.batch]]
            likelihood_step(model, optimizer, chosen, settings.clip, precision)
        if settings.early_stopping:
            nll = float(sequence_nll(model, held_out).mean())
            if nll < best:
                best, kept = nll, copy.deepcopy(model.state_dict())
        watch(epoch + 1, model)
    if kept is not None:
        model.load_state_dict(kept)
    model.eval()


def likelihood_step(
    model: SequenceModel, optimizer: torch.optim.Optimizer, sequences: Tensor, clip: float, precision: Precision
) -> None:
    """Take one step of maximum likelihood on sequences [B, T]."""
    with autocast(precision, sequences.device):
        loss = -model.log_probabilities(sequences).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
