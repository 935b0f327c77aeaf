"""Losses and gradients' raw material as pure functions of tensors. B replies, T tokens, V vocabulary."""

import torch
from torch import Tensor
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


def reply_logits(generator: Generator, state: State, reply: Tensor) -> Tensor:
    """Return the teacher-forced logits [tokens, V] (float32) of the tokens where `reply_mask` is true, in their order.

    Only real tokens are projected on the vocabulary, rounded up to a multiple of 64 rows: matrix libraries on CPUs
    prepare a kernel for every new number of rows, and keep the memory of each.
    """
    real = reply_mask(reply).flatten().nonzero().squeeze(1)
    rows = functional.pad(real, (0, -len(real) % _ROWS))  # the first position again; dropped below
    return generator.project(generator.hidden(state, reply).flatten(0, 1)[rows])[: len(real)].float()


def token_log_probabilities(generator: Generator, state: State, reply: Tensor) -> Tensor:
    """Return log P(reply[:, t] | context, reply[:, :t]) as [B, T] (float32), zero where `reply_mask` is false."""
    mask = reply_mask(reply)
    values = -functional.cross_entropy(reply_logits(generator, state, reply), reply[mask], reduction="none")
    return torch.zeros(reply.shape, dtype=values.dtype, device=reply.device).masked_scatter(mask, values)


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
    (label above one half) and over the others, which weigh alike: a prefix that tells nothing then gets a logit near
    zero however the batch is mixed (-0.2 with a human label of 0.9), where rewards change sign and accuracy is counted.
    """
    targets = labels[:, None].expand_as(logits)
    losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none") * mask
    each = losses.sum(1) / mask.sum(1).clamp(min=1)
    human = labels > 0.5
    return (each[human].mean() + each[~human].mean()) / 2


def pairwise_preference(preferred: Tensor, other: Tensor) -> Tensor:
    """Return the Bradley-Terry loss of logits [B] against logits [B] of the same contexts (Bradley and Terry 1952)."""
    return -functional.logsigmoid(preferred - other).mean()
