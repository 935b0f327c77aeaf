"""Turns inside a padded context: taken out, added, the oldest dropped, and pairs turned round. Token ids only.

The layout is that of `Batch`: every turn is ended by TURN, PAD stands on the right. B contexts, S context tokens, T
tokens of a turn.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chatbot.tokenizer import PAD, TURN
from training.batches import Batch, Batches
from training.losses import reply_mask


def left_aligned(tokens: Tensor, keep: Tensor) -> Tensor:
    """Return of tokens [B, S] those where `keep` is true, moved to the left, PAD behind, as [B, longest]."""
    order = keep.long().argsort(dim=1, descending=True, stable=True)
    moved = torch.where(keep, tokens, PAD).gather(1, order)
    return moved[:, : max(1, int(keep.sum(1).max()))]


def turn_back(context: Tensor, back: int) -> Tensor:
    """Return the turn `back` turns before the last one of each context [B, S] as [B, T]; nothing but PAD: no such."""
    return left_aligned(context, (_turns_back(context) == back) & (context != PAD))


def without_last(context: Tensor) -> Tensor:
    """Return contexts [B, S] without their last turn; nothing but PAD where it was the only one."""
    return left_aligned(context, (_turns_back(context) > 0) & (context != PAD))


def _turns_back(context: Tensor) -> Tensor:
    """Return [B, S]: of each token, how many turns come after its own, whose end token belongs to it."""
    return (context == TURN).long().flip(1).cumsum(1).flip(1) - 1


def add_turn(context: Tensor, turn: Tensor, most: int) -> Tensor:
    """Return contexts [B, S] with `turn` [B, T] as their last one, cut to `most` tokens as the bot does it.

    Whatever stands behind a turn's end token is left out; a turn that has none gets it. Oldest turns are dropped whole;
    of a last turn that alone is too long, the end is kept.
    """
    said = reply_mask(turn)
    open_end = ~((turn == TURN) & said).any(1, keepdim=True)
    end = torch.where(open_end, TURN, PAD)
    joined = torch.cat((context, torch.where(said, turn, PAD), end), dim=1)
    joined = left_aligned(joined, joined != PAD)
    length = (joined != PAD).sum(1, keepdim=True)
    position = torch.arange(joined.shape[1], device=joined.device)
    begins = torch.nn.functional.pad(joined[:, :-1] == TURN, (1, 0), value=True) & (joined != PAD)
    fits = begins & (length - position <= most)
    first = torch.where(fits.any(1, keepdim=True), fits.long().argmax(1, keepdim=True), length - most)
    return left_aligned(joined, (position >= first) & (joined != PAD))


def alone(turn: Tensor, most: int) -> Tensor:
    """Return each turn [B, T] as a context of its own, at most `most` tokens."""
    return add_turn(turn[:, :0], turn, most)


def turned_round(batch: Batch, context_tokens: int, reply_tokens: int) -> Batch:
    """Return the pairs the other way round: given the reply, what was the turn that it answers?"""
    return Batch(alone(batch.reply, context_tokens), turn_back(batch.context, 0)[:, :reply_tokens])


class TurnedBatches(Batches):
    """Go through a split like `Batches`, with each pair turned round."""

    def _batch(self, indices: NDArray[np.int64]) -> Batch:
        return turned_round(super()._batch(indices), self._data.context_tokens, self._data.reply_tokens)
