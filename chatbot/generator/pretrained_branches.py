"""Ways to go on from the prefixes of a reply with a pretrained language model: each branch has a cache of its own.

Knows trunks; no vocabulary and no sampling. R replies, T reply tokens, L branches, D width.
"""

import dataclasses
from typing import Self

import torch
from torch import Tensor

from chatbot.generator.branches import Branches
from chatbot.generator.interface import State
from chatbot.generator.pretrained_trunk import PretrainedTrunk


class PretrainedBranches(Branches):
    """Keep a state with a lane for each branch."""

    def __init__(self, trunk: PretrainedTrunk, state: State) -> None:
        self._trunk = trunk
        self._state = state

    @classmethod
    def begin(
        cls, trunk: PretrainedTrunk, state: State, tokens: Tensor, owner: Tensor, known: Tensor
    ) -> tuple[Tensor, "PretrainedBranches"]:
        """See `chatbot.generator.branches.branch`."""
        hidden = []
        for token in tokens.unbind(1):
            one, state = trunk.step(state, token)
            hidden.append(one)
        # What a cache holds behind a lane's position is never read: a branch forgets by standing further in front.
        branches = dataclasses.replace(state.select(owner), position=known)  # type: ignore[type-var]
        return torch.stack(hidden, 1), cls(trunk, branches)

    def select(self, lanes: Tensor) -> Self:
        """Return the branches `lanes`, in that order."""
        return type(self)(self._trunk, self._state.select(lanes))

    @torch.no_grad()
    def read(self, tokens: Tensor) -> Tensor:
        """Read one token [L] more in every branch and return hidden states [L, D]."""
        hidden, self._state = self._trunk.step(self._state, tokens)
        return hidden
