"""Monte-Carlo search: replies that go on from every prefix of a reply, all of them one batch.

Where they leave from is read once (`chatbot.generator.branches`); each has its own random stream, so a rollout is the
one that would have been drawn from its prefix alone. R replies, T reply tokens, N rollouts, L branches.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from chatbot.bundle import AnyGenerator
from chatbot.decoding import points_of
from chatbot.generator.branches import Branches, branch
from chatbot.generator.interface import State
from chatbot.generator.pretrained import PretrainedGenerator
from chatbot.tokenizer import PAD, START, TURN
from training.drawing import draw_tokens

_LANES, _LANES_PRETRAINED = 16384, 512
"""Branches that are rolled out at once: this bounds the memory of a search. Those of a language model share nothing."""


def leave_from(lengths: Tensor, rollouts: int) -> tuple[Tensor, Tensor]:
    """Return owner and known [L] of N rollouts from every prefix of replies of `lengths` [R] but the whole ones.

    Ordered by how much is known, then by reply.
    """
    longest = int(lengths.max()) if len(lengths) else 0
    known = torch.arange(1, max(longest, 1), device=lengths.device)
    pairs = (lengths > known[:, None]).nonzero()
    owner, known = pairs[:, 1], known[pairs[:, 0]]
    return owner.repeat_interleave(rollouts), known.repeat_interleave(rollouts)


def in_parts(owner: Tensor, replies: int, most: int = _LANES) -> Iterator[Tensor]:
    """Return the branches [any number] in parts that are rolled out one after the other, whole replies together."""
    counts = torch.bincount(owner, minlength=replies)
    part = (counts.cumsum(0) - counts) // most
    for number in range(int(part.max()) + 1 if replies else 0):
        chosen = (part[owner] == number).nonzero().squeeze(1)
        if len(chosen):
            yield chosen


def most_branches(generator: AnyGenerator) -> int:
    """Return how many branches of `generator` fit into memory at once."""
    return _LANES_PRETRAINED if isinstance(generator, PretrainedGenerator) else _LANES


def roll_out(
    generator: AnyGenerator, state: State, replies: Tensor, owner: Tensor, known: Tensor, seeds: Tensor
) -> Tensor:
    """Return one ending [L, T], PAD behind its end, of replies[owner, :known] for each of owner, known and seeds [L].

    `state` has R lanes with empty replies, and at least one token is known. What is drawn is what `write_replies` draws
    from that prefix with that seed.
    """
    with torch.no_grad():
        limit = generator.reply_tokens
        begun = torch.cat((torch.full_like(replies[:, :1], START), replies[:, :-1]), 1)
        # A branch that knows k tokens has read START and all of these: k + 1 inputs.
        hidden, branches = _branch(generator, state, begun, owner, known + 1)
        tokens = functional.pad(replies, (0, max(0, limit - replies.shape[1])), value=PAD)[owner][:, :limit]
        tokens = tokens.masked_fill(torch.arange(limit, device=tokens.device) >= known[:, None], PAD)
        after, place = torch.unique(owner * (limit + 1) + known, return_inverse=True)  # rollouts of one prefix share it
        first = generator.project(hidden[after // (limit + 1), after % (limit + 1)])
        logits = first.index_select(0, place)
        alive, position, points = torch.arange(len(owner), device=owner.device), known, points_of(seeds, limit)
        while True:
            drawn = _draw(logits, points[alive, position])
            tokens[alive, position] = drawn
            position = position + 1
            kept = ((drawn != TURN) & (position < limit)).nonzero().squeeze(1)
            if not len(kept):
                return tokens
            if len(kept) < len(alive):
                alive, position, drawn, branches = alive[kept], position[kept], drawn[kept], branches.select(kept)
            logits = generator.project(branches.read(drawn))


def _branch(
    generator: AnyGenerator, state: State, begun: Tensor, owner: Tensor, known: Tensor
) -> tuple[Tensor, Branches]:
    if not isinstance(generator, PretrainedGenerator):
        return branch(generator.trunk, state, begun, owner, known)
    from chatbot.generator.pretrained_branches import PretrainedBranches

    return PretrainedBranches.begin(generator.trunk, state, begun, owner, known)


def _draw(logits: Tensor, points: Tensor) -> Tensor:
    """Return the tokens [L] at `points` [L] of the distributions of logits [L, V]; PAD and START are never written."""
    logits = logits.float()
    logits[:, [PAD, START]] = -math.inf
    return draw_tokens(logits, points)
