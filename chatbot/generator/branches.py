"""Many ways to go on from the prefixes of a reply that has been read once: what Monte-Carlo search needs.

All branches read one token at a time, together. What they have in common is kept once and found by index: the encoded
contexts, and of the reply so far either the recurrent states or, for a Transformer, its keys and values, beside which
every branch has keys and values for its own tokens only. Knows trunks; no vocabulary and no sampling.

R replies, T reply tokens, L branches, S context tokens, D width, H heads.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self, cast

import torch
from torch import Tensor

from chatbot.generator.attention import attend, causal_mask
from chatbot.generator.interface import State
from chatbot.generator.recurrent import DecoderLayer as RecurrentLayer
from chatbot.generator.recurrent import RecurrentState, RecurrentTrunk
from chatbot.generator.transformer import DecoderLayer as TransformerLayer
from chatbot.generator.transformer import TransformerState, TransformerTrunk
from chatbot.generator.trunk import CrossAttention, Trunk, join_heads, split_heads

_NOTHING = -1e9


@dataclass(frozen=True)
class Places:
    """Where each branch stands among those of its reply: branches share keys and values in one product for each reply.

    `owner` [L] is the reply of a branch and `slot` [L] its number among the `most` that a reply has at most.
    """

    owner: Tensor
    slot: Tensor
    most: int
    replies: int

    @classmethod
    def of(cls, owner: Tensor, replies: int) -> "Places":
        """Number the branches of each reply."""
        order = torch.argsort(owner, stable=True)
        counts = torch.bincount(owner, minlength=replies)
        slot = torch.empty_like(owner)
        slot[order] = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[owner[order]]
        return cls(owner, slot, int(counts.max()) if len(owner) else 0, replies)

    def together(self, x: Tensor) -> Tensor:
        """Return x [L, D] as [R, most, D], zero where a reply has fewer branches."""
        padded = x.new_zeros(self.replies, self.most, x.shape[-1])
        padded[self.owner, self.slot] = x
        return padded

    def apart(self, x: Tensor) -> Tensor:
        """Return [R, most, ...] as [L, ...]."""
        return x[self.owner, self.slot]


class Branches(ABC):
    """L branches, each of which has read some prefix of its reply and its own tokens behind it."""

    @abstractmethod
    def select(self, lanes: Tensor) -> Self:
        """Return the branches `lanes` [any number, int64], in that order."""

    @abstractmethod
    def read(self, tokens: Tensor) -> Tensor:
        """Read one token [L] more in every branch and return hidden states [L, D]."""


def branch(trunk: Trunk, state: State, tokens: Tensor, owner: Tensor, known: Tensor) -> tuple[Tensor, Branches]:
    """Read tokens [R, T] once; return hidden states [R, T, D] and branches that have read tokens[owner, :known].

    `state` has R lanes with empty replies; owner and known (at least 1) are [L]. Gradients are not kept, and the trunk
    must be in evaluation mode: branches draw no dropout.
    """
    with torch.no_grad():
        if isinstance(trunk, RecurrentTrunk):
            assert isinstance(state, RecurrentState)
            return RecurrentBranches.begin(trunk, state, tokens, owner, known)
        assert isinstance(trunk, TransformerTrunk)
        assert isinstance(state, TransformerState)
        return TransformerBranches.begin(trunk, state, tokens, owner, known)


def _look(cross: CrossAttention, x: Tensor, memory: tuple[Tensor, Tensor], mask: Tensor, places: Places) -> Tensor:
    """Return what is to be added to x [L, D] from contexts [R, ...]."""
    query = split_heads(places.together(cross.query(cross.norm(x))), cross.heads)
    seen = join_heads(attend(query, *memory, mask[:, None, None, :]))
    out: Tensor = cross.out(places.apart(seen))
    return out


@dataclass
class RecurrentBranches(Branches):
    """Keep each branch's own GRU states; contexts are shared."""

    trunk: RecurrentTrunk
    state: RecurrentState
    places: Places
    carried: list[Tensor]

    @classmethod
    def begin(
        cls, trunk: RecurrentTrunk, state: RecurrentState, tokens: Tensor, owner: Tensor, known: Tensor
    ) -> tuple[Tensor, "RecurrentBranches"]:
        """See `branch`."""
        x = trunk.embed(tokens)
        carried = []
        for module, memory, before in zip(trunk.decoder, state.memory, state.carried, strict=True):
            layer = cast(RecurrentLayer, module)
            mixed, _ = layer.gru(layer.norm(x), before[None].to(x.dtype))
            carried.append(mixed[owner, known - 1])  # a GRU's output is its state
            x = x + mixed
            x = x + layer.cross(x, *memory, state.mask)
            x = x + layer.feedforward(x)
        return trunk.decoder_norm(x), cls(trunk, state, Places.of(owner, len(tokens)), carried)

    def select(self, lanes: Tensor) -> "RecurrentBranches":
        """Return the branches `lanes`, in that order."""
        places = Places.of(self.places.owner[lanes], self.places.replies)
        return RecurrentBranches(self.trunk, self.state, places, [c.index_select(0, lanes) for c in self.carried])

    @torch.no_grad()
    def read(self, tokens: Tensor) -> Tensor:
        """Read one token [L] more in every branch and return hidden states [L, D]."""
        x = self.trunk.embed(tokens)
        for index, (module, memory) in enumerate(zip(self.trunk.decoder, self.state.memory, strict=True)):
            layer = cast(RecurrentLayer, module)
            mixed, last = layer.gru(layer.norm(x)[:, None], self.carried[index][None].to(x.dtype))
            self.carried[index] = last[0]
            x = x + mixed[:, 0]
            x = x + _look(layer.cross, x, memory, self.state.mask, self.places)
            x = x + layer.feedforward(x)
        hidden: Tensor = self.trunk.decoder_norm(x)
        return hidden


@dataclass
class TransformerBranches(Branches):
    """Keep each branch's keys and values of its own tokens; those of replies and contexts are shared."""

    trunk: TransformerTrunk
    state: TransformerState
    places: Places
    prefix: list[tuple[Tensor, Tensor]]  # of each layer, [R, H, T, D/H] twice
    known: Tensor  # [L], tokens of the reply that a branch sees
    own: list[tuple[Tensor, Tensor]]  # of each layer, [L, H, steps so far, D/H] twice
    steps: int

    @classmethod
    def begin(
        cls, trunk: TransformerTrunk, state: TransformerState, tokens: Tensor, owner: Tensor, known: Tensor
    ) -> tuple[Tensor, "TransformerBranches"]:
        """See `branch`."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        before = causal_mask(tokens.shape[1], tokens.device)
        x = trunk.embed(tokens) + trunk.reply_positions(positions)
        prefix = []
        for module, memory in zip(trunk.decoder, state.memory, strict=True):
            layer = cast(TransformerLayer, module)
            query, key, value = layer.attention.project(x)
            prefix.append((key.contiguous(), value.contiguous()))
            x = layer.finish(x, attend(query, key, value, before), memory, state.mask)
        none = [(k.new_zeros(len(owner), k.shape[1], 0, k.shape[3]),) * 2 for k, _ in prefix]
        places = Places.of(owner, len(tokens))
        return trunk.decoder_norm(x), cls(trunk, state, places, prefix, known, none, 0)

    def select(self, lanes: Tensor) -> "TransformerBranches":
        """Return the branches `lanes`, in that order."""
        return TransformerBranches(
            self.trunk,
            self.state,
            Places.of(self.places.owner[lanes], self.places.replies),
            self.prefix,
            self.known.index_select(0, lanes),
            [(k.index_select(0, lanes), v.index_select(0, lanes)) for k, v in self.own],
            self.steps,
        )

    @torch.no_grad()
    def read(self, tokens: Tensor) -> Tensor:
        """Read one token [L] more in every branch and return hidden states [L, D]."""
        x = self.trunk.embed(tokens) + self.trunk.reply_positions(self.known + self.steps)
        self.steps += 1
        positions = torch.arange(self.prefix[0][0].shape[2], device=tokens.device)
        unseen = torch.zeros(len(tokens), 1, len(positions), device=tokens.device)
        unseen = unseen.masked_fill((positions >= self.known[:, None])[:, None], _NOTHING)
        for index, (module, memory) in enumerate(zip(self.trunk.decoder, self.state.memory, strict=True)):
            layer = cast(TransformerLayer, module)
            query, key, value = (part[:, :, 0] for part in layer.attention.project(x[:, None]))  # [L, H, D/H]
            keys, values = self.own[index]
            keys, values = torch.cat((keys, key[:, :, None]), 2), torch.cat((values, value[:, :, None]), 2)
            self.own[index] = (keys, values)
            seen = self._attend(query * query.shape[-1] ** -0.5, self.prefix[index], (keys, values), unseen)
            x = x + layer.attention.dropout(layer.attention.out(seen))
            x = x + _look(layer.cross, x, memory, self.state.mask, self.places)
            x = x + layer.feedforward(x)
        hidden: Tensor = self.trunk.decoder_norm(x)
        return hidden

    def _attend(
        self, query: Tensor, prefix: tuple[Tensor, Tensor], own: tuple[Tensor, Tensor], unseen: Tensor
    ) -> Tensor:
        """Return what query [L, H, D/H] sees of its reply's prefix and its own tokens, [L, D]."""
        places, heads = self.places, query.shape[1]
        together = places.together(query.flatten(1)).view(places.replies, places.most, heads, -1).transpose(1, 2)
        shared = places.apart((together @ prefix[0].transpose(-1, -2)).transpose(1, 2))  # [L, H, T]
        alone = (own[0] @ query[..., None]).squeeze(3)  # [L, H, steps]
        weights = torch.softmax(torch.cat((shared.float() + unseen, alone.float()), 2), 2).to(query.dtype)
        shared, alone = torch.split(weights, [shared.shape[2], alone.shape[2]], 2)
        gathered = places.together(shared.flatten(1)).view(places.replies, places.most, heads, -1).transpose(1, 2)
        from_prefix = places.apart((gathered @ prefix[1]).transpose(1, 2))
        seen: Tensor = (from_prefix + (alone[:, :, None] @ own[1]).squeeze(2)).flatten(1)
        return seen
