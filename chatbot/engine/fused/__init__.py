"""Steps of our own generators on int8, fused: what stands between two products is done in one pass over each row."""

import importlib.util
import logging
from typing import Protocol

from torch import Tensor, nn

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


def fused(trunk: Trunk, projection: nn.Module) -> Fused | None:
    """Return the fused form of a trunk whose layers are on int8; None where nothing can be compiled here."""
    if importlib.util.find_spec("numba") is None:
        log.warning("numba is not installed; steps on int8 take about three times as long")
        return None
    from chatbot.engine.fused.recurrent import FusedRecurrent
    from chatbot.engine.fused.transformer import FusedTransformer

    if isinstance(trunk, TransformerTrunk):
        return FusedTransformer(trunk, projection)
    assert isinstance(trunk, RecurrentTrunk)
    return FusedRecurrent(trunk, projection)
