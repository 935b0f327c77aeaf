"""Steps of our own generators on int8, fused: what stands between two products is done in one pass over each row."""

import functools
import importlib
import logging
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from chatbot.decoding import Decoding, Lanes
from chatbot.generator.interface import State
from chatbot.generator.recurrent import RecurrentTrunk
from chatbot.generator.transformer import TransformerTrunk
from chatbot.generator.trunk import Trunk

log = logging.getLogger(__name__)


class Fused(Protocol):
    """Encodes contexts and steps lanes, as a generator does."""

    def encode(self, context: Tensor) -> State:
        """Read contexts [B, S] and return B lanes with empty replies."""

    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, State]:
        """Append one token [B] to every lane and return the logits of the next [B, V]."""


Draw = Callable[[Lanes, Tensor, Tensor], Tensor]
"""Draws tokens [B] from constrained logits [B, V] at each lane's position [B]."""


def fused_draw(device: torch.device) -> Draw:
    """Return how tokens are drawn on `device`."""
    if device.type != "cpu" or not _can_be_compiled():
        return Lanes.draw
    from chatbot.engine.fused.drawing import draw

    # Compiled now, and not while somebody waits for a first word.
    draw(Lanes([Decoding()], torch.zeros(1, dtype=torch.long), 1), torch.zeros(1, 1), torch.zeros(1, dtype=torch.long))
    return draw


def fused(trunk: Trunk, projection: nn.Module) -> Fused | None:
    """Return the fused form of a trunk whose layers are on int8; None for one of another kind, and without compiler."""
    if not _can_be_compiled():
        return None
    from chatbot.engine.fused.recurrent import FusedRecurrent
    from chatbot.engine.fused.transformer import FusedTransformer

    if isinstance(trunk, TransformerTrunk):
        return FusedTransformer(trunk, projection)
    return FusedRecurrent(trunk, projection) if isinstance(trunk, RecurrentTrunk) else None


@functools.cache
def _can_be_compiled() -> bool:
    try:
        importlib.import_module("numba")
    except ImportError as error:
        log.warning("numba cannot be had (%s): on CPUs, steps take two to three times as long", error)
        return False
    return True
