"""Replies as distributions: the generator writes softmax vectors instead of tokens, so that what D says of them can be
differentiated back into it. What is fed back is each vector's expected embedding.

A token ends a reply or does not; a vector does so with its probability of TURN. So the verdict on a relaxed reply is
the expected one over where it ends: D judges every prefix, and prefix t counts with the probability that the reply ends
there, p_t(TURN) prod_{s<t} (1 - p_s(TURN)), the last one with all that is left. For one-hot vectors (human replies,
straight-through samples) this is D's logit at the end token, and nothing behind it counts. For others the length of a
reply is learnt as its words are.

Knows no loss and no discriminator's training. B replies, T reply tokens, V vocabulary.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from chatbot.bundle import AnyGenerator
from chatbot.discriminator import PairDiscriminator
from chatbot.tokenizer import PAD, START, TURN
from training.losses import reply_mask

Relaxation = Callable[[Tensor], Tensor]
"""Turns logits [B, V] into distributions [B, V]."""

_LEFT = 1e-3  # probability that a reply goes on, below which what it would go on with is not written


def write_relaxed(generator: AnyGenerator, context: Tensor, relax: Relaxation) -> Tensor:
    """Return the generator's own replies to contexts [B, S] as distributions [B, T, V], differentiable through time.

    PAD and START get no probability. T is at most `reply_tokens`, and less when every reply has ended before.
    """
    never = torch.zeros(generator.vocabulary_size, dtype=torch.bool, device=context.device)
    never[[PAD, START]] = True
    start = torch.full_like(context[:, 0], START)
    logits, state = generator.step(generator.encode(context), start)
    written = [relax(logits.masked_fill(never, -math.inf))]
    goes_on = 1 - written[0][:, TURN].detach()
    while len(written) < generator.reply_tokens and float(goes_on.max()) > _LEFT:
        logits, state = generator.step_soft(state, written[-1])
        written.append(relax(logits.masked_fill(never, -math.inf)))
        goes_on = goes_on * (1 - written[-1][:, TURN].detach())
    return torch.stack(written, dim=1)


def softmax(logits: Tensor) -> Tensor:
    """Return the generator's distribution itself: nothing is drawn."""
    return torch.softmax(logits, dim=-1)


def gumbel_softmax(logits: Tensor, temperature: float, straight_through: bool, rng: torch.Generator) -> Tensor:
    """Return relaxed samples softmax((logits + g) / temperature), g standard Gumbel (Jang et al. 2016, equation 2).

    The largest entry is a sample of softmax(logits) at every temperature. With `straight_through` the forward value is
    that sample, one-hot, and the gradient the relaxed one's. The noise is drawn on the CPU.
    """
    uniform = torch.rand(logits.shape, generator=rng).clamp(min=1e-30)  # 0 may be drawn, 1 never is
    noise = -torch.log(-torch.log(uniform))
    soft = torch.softmax((logits + noise.to(logits.device)) / temperature, dim=-1)
    if not straight_through:
        return soft
    drawn = functional.one_hot(soft.argmax(dim=-1), soft.shape[-1]).to(soft.dtype)
    return drawn + (soft - soft.detach())  # in this order nothing is rounded: the second term is exactly zero


def annealed(first: float, last: float, progress: float) -> float:
    """Return the temperature at `progress`, 0 to 1, on the way from `first` to `last`, a straight line of its log."""
    return float(first * (last / first) ** progress)


def one_hot(reply: Tensor, vocabulary: int) -> Tensor:
    """Return token replies [B, T] as distributions [B, T, V]; an ended reply goes on saying TURN.

    That keeps every row a distribution, and one between two replies a distribution too.
    """
    return functional.one_hot(torch.where(reply_mask(reply), reply, TURN), vocabulary).float()


def lengthen(soft: Tensor, longest: int) -> Tensor:
    """Return relaxed replies [B, T, V] with rows of TURN added at their ends, up to [B, longest, V]."""
    added = torch.full((len(soft), longest - soft.shape[1]), TURN, device=soft.device)
    return torch.cat((soft, functional.one_hot(added, soft.shape[2]).to(soft.dtype)), dim=1)


def ending_weights(soft: Tensor) -> Tensor:
    """Return the probability [B, T] that a reply [B, T, V] ends at each of its vectors; the last takes the rest."""
    ends = soft[..., TURN]
    before = functional.pad(torch.cumprod(1 - ends[:, :-1], dim=1), (1, 0), value=1.0)
    return torch.cat((before[:, :-1] * ends[:, :-1], before[:, -1:]), dim=1)


def verdict(discriminator: PairDiscriminator, context: Tensor, soft: Tensor) -> Tensor:
    """Return D's expected logit [B] of relaxed replies [B, T, V] to contexts [B, S], over where they end."""
    logits = discriminator.judge_soft(discriminator.encode(context), soft)
    return (ending_weights(soft) * logits).sum(dim=1)
