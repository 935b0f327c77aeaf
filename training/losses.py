"""Losses and gradients' raw material as pure functions of tensors. B replies, T tokens, V vocabulary."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from chatbot.generator.interface import Generator, State
from chatbot.tokenizer import PAD, TURN

_ROWS = 64


def reply_mask(reply: Tensor) -> Tensor:
    """Return [B, T], true at the tokens of each reply up to and with its end token TURN, false behind it.

    Whatever stands behind the end token, padding or not, is no part of the reply.
    """
    ended_before = (reply == TURN).long().cumsum(1) - (reply == TURN).long()
    return (ended_before == 0) & (reply != PAD)


def reply_logits(generator: Generator, state: State, reply: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the teacher-forced logits [tokens, V] of the tokens where `mask` is true, in their order.

    Without a mask these are the tokens where `reply_mask` is.

    Only real tokens are projected on the vocabulary, rounded up to a multiple of 64 rows: matrix libraries on CPUs
    prepare a kernel for every new number of rows, and keep the memory of each.
    """
    real = (reply_mask(reply) if mask is None else mask).flatten().nonzero().squeeze(1)
    rows = functional.pad(real, (0, -len(real) % _ROWS))  # the first position again; dropped below
    return generator.project(generator.hidden(state, reply).flatten(0, 1)[rows])[: len(real)]


def token_log_probabilities(generator: Generator, state: State, reply: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return log P(reply[:, t] | context, reply[:, :t]) as [B, T] (float32), zero where `mask` is false.

    Without a mask that is `reply_mask`.
    """
    mask = reply_mask(reply) if mask is None else mask
    values = chosen_log_probabilities(reply_logits(generator, state, reply, mask), reply[mask])
    return torch.zeros(reply.shape, dtype=values.dtype, device=reply.device).masked_scatter(mask, values)


def chosen_log_probabilities(logits: Tensor, chosen: Tensor) -> Tensor:
    """Return log P of `chosen` [n] under logits [n, V], as [n] (float32)."""
    values: Tensor = _ChosenLogProbabilities.apply(logits, chosen)  # type: ignore[no-untyped-call]
    return values


class _ChosenLogProbabilities(torch.autograd.Function):
    """Cross-entropy that keeps probabilities in the logits' own format, and float32 copies of a few rows at a time.

    Over a large vocabulary the float32 copies that torch's own makes both ways are the largest tensors of a step;
    passing over rows that are still in the cache is also faster.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, chosen: Tensor) -> Tensor:
        chances = torch.empty_like(logits)
        values = logits.new_empty(len(logits), dtype=torch.float32)
        for part in _parts(logits):
            own = logits[part].float()
            likely = torch.softmax(own, 1)
            # The likeliest token's chance never underflows, so the normaliser is found through it.
            normaliser = own.amax(1) - likely.amax(1).log()
            values[part] = own.gather(1, chosen[part, None]).squeeze(1) - normaliser
            chances[part] = likely
        ctx.save_for_backward(chances, chosen)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        chances, chosen = ctx.saved_tensors
        weight = gradient.to(chances.dtype)[:, None]
        slopes = torch.empty_like(chances)
        for part in _parts(chances):
            torch.mul(chances[part], -weight[part], out=slopes[part]).scatter_add_(1, chosen[part, None], weight[part])
        return slopes, None


def _parts(logits: Tensor) -> list[slice]:
    """Return the rows of logits [n, V] in parts to pass over at once: on a CPU as many as its cache keeps."""
    rows = 64 * torch.get_num_threads() if logits.device.type == "cpu" else max(1, 2**27 // logits.shape[1])
    return [slice(start, start + rows) for start in range(0, len(logits), rows)]


def negative_log_likelihood(log_probabilities: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over tokens of -log P, in nats; both [B, T]."""
    return -(log_probabilities * mask).sum() / mask.sum().clamp(min=1)


def policy_gradient(log_probabilities: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """Return the loss whose gradient is -mean A grad log pi (REINFORCE, Williams 1992); all [B, T].

    Descending it raises the log-probability of tokens with a positive advantage. Advantages get no gradient.
    """
    return -(advantages.detach() * log_probabilities * mask).sum() / mask.sum().clamp(min=1)


def kl_estimate(log_probabilities: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over tokens of the estimator k3 of KL(pi || reference), in nats; all [B, T] at pi's own samples.

    exp(q - p) - (q - p) - 1: unbiased, never negative (Schulman 2020, "Approximating KL divergence"). Only the value:
    through the samples' log-probabilities its gradient is that of KL(reference || pi) at each token. Near the
    reference the two agree; further away this one pulls back what pi has stopped to say, which is the failure feared.
    """
    difference = reference.detach() - log_probabilities
    return ((difference.exp() - difference - 1) * mask).sum() / mask.sum().clamp(min=1)


def prefix_cross_entropy(logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Return the binary cross-entropy of D's prefix logits [B, T], each reply's own label [B] at all its prefixes.

    Averaged over the prefixes of a reply first, so that long replies do not weigh more, then over the human replies
    (label a above one half) and over the others (label 0), these with weight 2a - 1. A prefix that tells nothing then
    gets logit 0 however the batch is mixed and whatever the label is, where rewards change sign and accuracy is
    counted: the gradient at probability p is (p - a) + w p, which vanishes at p = 1/2 for w = 2a - 1.
    """
    targets = labels[:, None].expand_as(logits)
    losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none") * mask
    each = losses.sum(1) / mask.sum(1).clamp(min=1)
    human = labels > 0.5
    weight = 2 * labels[human].mean() - 1
    return (each[human].mean() + weight * each[~human].mean()) / (1 + weight)


def pairwise_preference(preferred: Tensor, other: Tensor) -> Tensor:
    """Return the Bradley-Terry loss of logits [B] against logits [B] of the same contexts (Bradley and Terry 1952)."""
    return -functional.logsigmoid(preferred - other).mean()


def discrimination_loss(human: Tensor, machine: Tensor) -> Tensor:
    """Return D's loss -E log D(human) - E log(1 - D(machine)) of logits, both [B] (Goodfellow et al. 2014)."""
    return functional.softplus(-human).mean() + functional.softplus(machine).mean()


def minimax_loss(machine: Tensor) -> Tensor:
    """Return G's original loss E log(1 - D(machine)) of logits [B] (Goodfellow et al. 2014, equation 1).

    Its slope in a logit is -D: where D is sure of itself there is none left (it saturates).
    """
    return -functional.softplus(machine).mean()


def non_saturating_loss(machine: Tensor) -> Tensor:
    """Return G's other loss -E log D(machine) of logits [B] (Goodfellow et al. 2014, section 3): slope D - 1."""
    return functional.softplus(-machine).mean()


def js_estimate(human: Tensor, machine: Tensor) -> Tensor:
    """Return D's lower bound on the Jensen-Shannon divergence, in nats, from its logits [B] of both sides.

    log 2 - discrimination_loss / 2: the divergence itself for the best D (Goodfellow et al. 2014, theorem 1), log 2
    where D tells the two apart without fail, below zero for a D that is worse than a coin.
    """
    return math.log(2) - discrimination_loss(human, machine) / 2


def wasserstein_estimate(human: Tensor, machine: Tensor) -> Tensor:
    """Return E f(human) - E f(machine) of a critic's values, both [B] (Arjovsky et al. 2017); the critic raises it."""
    return human.mean() - machine.mean()


def gradient_penalty(gradients: Tensor, weight: float = 10.0) -> Tensor:
    """Return weight E (|gradient| - 1)^2 for a critic's gradients [B, ...] (Gulrajani et al. 2017, equation 3)."""
    slopes: Tensor = torch.linalg.vector_norm(gradients.flatten(1), dim=1)
    return weight * (slopes - 1).square().mean()


def divergence_penalty(gradients: Tensor, weight: float = 2.0, power: float = 6.0) -> Tensor:
    """Return weight E |gradient|^power for a critic's gradients [B, ...] (WGAN-div, Wu et al. 2018: k = 2, p = 6)."""
    penalty: Tensor = weight * gradients.flatten(1).square().sum(1).pow(power / 2).mean()
    return penalty
