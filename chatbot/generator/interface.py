"""What a generator of replies can do, whatever it is made of. Token ids in, logits out; no text, no sampling.

B lanes (one lane is one reply being written), S context tokens, T reply tokens, V vocabulary.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple, Self

from torch import Tensor, nn


class Part(NamedTuple):
    """One of the tensors that a state is made of: the first dimension counts lanes."""

    tensor: Tensor
    context: int | None = None
    """The dimension that counts context tokens, if one does."""
    reply: int | None = None
    """The dimension that counts reply tokens, if one does. Such a part is written in place by every step and never read
    behind a lane's position: a new reply needs no fresh one."""


class State(ABC):
    """What a generator remembers of each lane: the encoded context and the reply so far."""

    @abstractmethod
    def select(self, lanes: Tensor) -> Self:
        """Return the state of `lanes` [any number, int64], in that order; one named twice is two lanes from now on."""

    def parts(self) -> list[Part]:
        """Return the tensors that this state is made of, in an order that its class keeps.

        Those that count reply tokens stand last.

        What lets an engine keep many lanes in one place, and write newcomers over those that have ended.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot be served by an engine: it does not name its parts")

    @property
    def complete(self) -> bool:
        """Return whether every part is there; some come with the first step."""
        return True

    def with_parts(self, tensors: list[Tensor]) -> Self:
        """Return a state made of `tensors`, which stand for all of `parts` in their order."""
        raise NotImplementedError(f"{type(self).__name__} cannot be served by an engine: it does not name its parts")


class Generator(nn.Module, ABC):
    """Model P(reply | context), token by token."""

    vocabulary_size: int
    reply_tokens: int
    """The longest reply it can write, end token counted."""
    width: int
    """Of the hidden states."""
    prepares_for_lanes: bool = True
    """Its first step with a number of lanes takes longer, so an engine steps few numbers of them."""

    reads_on: bool = False
    """What follows the end of a reply is read as the next turn: of several turns `hidden` gives at each what it would
    give with all before it as the context."""

    @abstractmethod
    def encode(self, context: Tensor) -> State:
        """Read contexts [B, S] (int64, padded on the right with PAD) and return B lanes with empty replies."""

    @abstractmethod
    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, State]:
        """Append one token to every lane and return the logits of the next: tokens [B] -> logits [B, V] (float32).

        `state` is used up, for it may be written in place: go on with the one returned, and to go two ways from here
        `select` first. The logits are the caller's to change until the next step. The first token of every lane is
        START. A lane that already holds `reply_tokens` tokens cannot be stepped.
        """

    @abstractmethod
    def hidden(self, state: State, reply: Tensor) -> Tensor:
        """Return [B, T, width]: `project` of entry t gives the logits of reply[:, t] after reply[:, :t].

        `state` comes straight from `encode` (perhaps through `select`). Apart from `score` so that a loss can leave
        padding out before the projection on the vocabulary, which is the costliest product of a small model.
        """

    @abstractmethod
    def project(self, hidden: Tensor) -> Tensor:
        """Turn hidden states [..., width] into logits [..., V]."""

    def score(self, state: State, reply: Tensor) -> Tensor:
        """Return the teacher-forced logits [B, T, V] of `reply` [B, T]."""
        return self.project(self.hidden(state, reply))
