"""From logits to replies: how a token is drawn, and the loop that writes a batch of replies to their ends.

Every lane has its own settings and its own random stream, a counter hashed with the lane's seed, so what one lane draws
never depends on its neighbours. B lanes, T reply tokens, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from chatbot.generator.interface import Generator, State
from chatbot.request import SEED_LIMIT as SEED_LIMIT
from chatbot.request import Decoding as Decoding
from chatbot.request import with_limit as with_limit
from chatbot.tokenizer import PAD, START, TURN

ODD = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: steps of a counter land far apart
GREEDY = 1e-4  # colder than this, dividing by the temperature overflows, and nothing but the likeliest is drawn anyway
DRAWS = 64  # numbers of its stream that a lane may use for one token
BLOCK = 64  # tokens added up together
TRIES = 16  # draws from the whole distribution before the nucleus is sorted out; at top_p .5 all fail once in 65,536


@dataclass(frozen=True)
class Sampled:
    """Replies as they were drawn: tokens [B, T] (PAD behind the end), lengths [B] with the end token counted."""

    tokens: Tensor
    lengths: Tensor
    finished: Tensor
    """[B] bool: the reply ended by itself, with TURN, and not at its length limit."""


class Lanes:
    """Hold the settings of B lanes as tensors, and draw their next tokens."""

    def __init__(self, decodings: Sequence[Decoding], seeds: Tensor, longest: int) -> None:
        device = seeds.device
        self.seeds = seeds
        self.temperature = torch.tensor([d.temperature for d in decodings], device=device, dtype=torch.float32)
        self.top_k = torch.tensor([d.top_k for d in decodings], device=device)
        self.top_p = torch.tensor([d.top_p for d in decodings], device=device, dtype=torch.float32)
        self.penalty = torch.tensor([d.repetition_penalty for d in decodings], device=device, dtype=torch.float32)
        self.ngram = [d.no_repeat_ngram for d in decodings]
        self.min_tokens = torch.tensor([d.min_tokens for d in decodings], device=device)
        self.max_tokens = torch.tensor([min(d.max_tokens or longest, longest) for d in decodings], device=device)
        # Which kinds of work any lane asks for, decided once here and not by a look at the device in every step.
        self.penalised = any(d.repetition_penalty != 1 for d in decodings)
        self.blocks_ngrams = any(self.ngram)
        self.deepest_k = max((d.top_k for d in decodings), default=0)
        self.nucleus = any(d.top_p < 1 for d in decodings)
        self.greedy = any(d.temperature < GREEDY for d in decodings)

    def __len__(self) -> int:
        return len(self.seeds)

    def select(self, lanes: Tensor) -> "Lanes":
        """Return the settings of `lanes` [int64], in that order."""
        chosen = object.__new__(Lanes)
        chosen.__dict__.update(self.__dict__)
        for name in ("seeds", "temperature", "top_k", "top_p", "penalty", "min_tokens", "max_tokens"):
            setattr(chosen, name, getattr(self, name).index_select(0, lanes))
        chosen.ngram = [self.ngram[i] for i in lanes.tolist()]
        return chosen

    def constrain(
        self, logits: Tensor, written: Tensor, position: Tensor | None = None, *, in_place: bool = False
    ) -> Tensor:
        """Return logits [B, V] after penalties and bans, given what each lane has written so far [B, t].

        With `position` [B] lanes have come differently far: PAD stands behind what each has written. PAD and START are
        never written; TURN not before `min_tokens`.
        """
        if not in_place:
            logits = logits.clone()
        if position is None:
            position = self.min_tokens.new_full((len(self),), written.shape[1])
        if self.penalised and written.shape[1]:
            seen = logits.gather(1, written)
            penalty = self.penalty[:, None]
            logits.scatter_(1, written, torch.where(seen > 0, seen / penalty, seen * penalty))
        if self.blocks_ngrams:
            for lane, size in enumerate(self.ngram):
                if size:
                    history = written[lane, : int(position[lane])].tolist()
                    logits[lane, _ngram_endings(history, size)] = -math.inf
        for never in (PAD, START):
            logits[:, never] = -math.inf
        logits[:, TURN].masked_fill_(position < self.min_tokens, -math.inf)
        if self.blocks_ngrams or logits.shape[1] <= TURN + 1:
            # Bans may have closed every way on: ending the reply is then the only honest continuation.
            logits[:, TURN].masked_fill_(torch.isneginf(logits).all(dim=1), 0.0)
        return logits

    def draw(self, logits: Tensor, position: int | Tensor) -> Tensor:
        """Draw tokens [B] from constrained logits [B, V], by inversion of the cumulative distribution in float64.

        `position` is that of all lanes, or each lane's own [B]. The nucleus is exact and hardly ever needs sorting: a
        token drawn from the whole distribution is kept if the mass of likelier tokens is below top_p, which is the draw
        from the renormalised nucleus. Of equally likely tokens at its edge all belong to it, as they do to the top k.
        """
        greedy = self.temperature < GREEDY
        likeliest = logits.argmax(dim=1) if self.greedy else None
        scaled = logits / torch.where(greedy, 1.0, self.temperature)[:, None]
        scaled = self.only_likeliest(scaled)
        top_p = self.top_p if self.nucleus else None
        drawn, probabilities, inside = first_draw(scaled, top_p, uniforms(self.seeds, position * DRAWS))
        if inside is not None:
            # Only the lanes that have missed their nucleus look at their distribution again.
            missed = (~(inside | greedy)).nonzero().squeeze(1)
            attempt = 1
            while len(missed):
                lanes, left = self.select(missed), probabilities.index_select(0, missed)
                here = position if isinstance(position, int) else position.index_select(0, missed)
                if attempt == TRIES:  # a small nucleus of a flat distribution: tries would go on missing it
                    drawn[missed] = lanes._invert(Cumulative(lanes._nucleus(left)), here, TRIES)
                    break
                again = lanes._invert(Cumulative(left), here, attempt)
                drawn[missed] = again
                missed = missed[~in_nucleus(left, again, lanes.top_p)]
                attempt += 1
        return drawn if likeliest is None else torch.where(greedy, likeliest, drawn)

    def only_likeliest(self, logits: Tensor) -> Tensor:
        """Return logits [B, V] without those below each lane's top k."""
        if not self.deepest_k:
            return logits
        best = logits.topk(min(self.deepest_k, logits.shape[1]), dim=1).values
        floor = best.gather(1, (self.top_k.clamp(1, best.shape[1]) - 1)[:, None])
        return logits.masked_fill((logits < floor) & (self.top_k > 0)[:, None], -math.inf)

    def _invert(self, cumulative: "Cumulative", position: int | Tensor, attempt: int) -> Tensor:
        return cumulative.invert(uniforms(self.seeds, position * DRAWS + attempt))

    def _nucleus(self, probabilities: Tensor) -> Tensor:
        """Return probabilities [B, V] with those outside the nucleus set to zero, found by sorting."""
        ordered = probabilities.sort(dim=1, descending=True).values
        above = ordered.double().cumsum(dim=1) - ordered
        edge = torch.where(above < self.top_p[:, None], ordered, math.inf).amin(dim=1, keepdim=True)
        return torch.where(probabilities >= edge, probabilities, 0)


class Cumulative:
    """The cumulative distributions of probabilities [B, V], in float64 and two levels: blocks, then within a block.

    Only the sums of blocks are added up for the whole vocabulary; one block of each lane is then looked into. Adding up
    every token in float64 costs several times the softmax.
    """

    def __init__(self, probabilities: Tensor) -> None:
        count, size = probabilities.shape
        self._size = size
        if size % BLOCK:
            probabilities = functional.pad(probabilities, (0, -size % BLOCK))
        self._blocks = probabilities.view(count, -1, BLOCK)
        self._sums = self._blocks.sum(dim=2).double().cumsum(dim=1)

    def invert(self, points: Tensor) -> Tensor:
        """Return the tokens [B] at `points` [B] in [0, 1) of each lane's whole mass; none of probability 0."""
        point = points * self._sums[:, -1]
        block = torch.searchsorted(self._sums, point[:, None], right=True).clamp(max=self._sums.shape[1] - 1)
        before = torch.where(block > 0, self._sums.gather(1, (block - 1).clamp(min=0)), 0.0)
        inside = self._blocks.gather(1, block[..., None].expand(-1, 1, BLOCK)).squeeze(1)
        within = inside.double().cumsum(dim=1)
        # The block's sum, rounded to float32, may end above what adding up its tokens ends at.
        least = torch.minimum((point[:, None] - before), within[:, -1:] * (1 - 2**-40))
        token = torch.searchsorted(within, least, right=True)
        return (block * BLOCK + token).squeeze(1).clamp(max=self._size - 1)


def first_draw(logits: Tensor, top_p: Tensor | None, points: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Draw tokens [B] at `points` [B] (float64, in [0, 1)) from the whole distributions of logits [B, V].

    Returns them, the probabilities [B, V], and with `top_p` [B] whether each token is in its nucleus [B].
    """
    probabilities = torch.softmax(logits, dim=1)
    drawn = Cumulative(probabilities).invert(points)
    return drawn, probabilities, None if top_p is None else in_nucleus(probabilities, drawn, top_p)


def in_nucleus(probabilities: Tensor, drawn: Tensor, top_p: Tensor) -> Tensor:
    """Return [B]: the tokens that are likelier than the one drawn [B] weigh less than top_p [B] together."""
    own = probabilities.gather(1, drawn[:, None])
    # In units of the drawn token's own probability, what exceeds 1 is likelier: a quarter of the time of comparing.
    above = functional.hardshrink(probabilities / own, 1.0).sum(dim=1) * own.squeeze(1)
    return (above < top_p) | (top_p >= 1)


def uniforms(seeds: Tensor, counter: int | Tensor) -> Tensor:
    """Return numbers in [0, 1) (float64), one for each seed [B, int64]: the hash of (seed, counter).

    The mixer is SplitMix64's (Steele et al. 2014); int64 arithmetic wraps round as it needs.
    """
    if isinstance(counter, Tensor):
        x = _mix(_mix(seeds) + (counter + 1) * (ODD - 2**64))
    else:
        offset = (counter + 1) * ODD % 2**64
        x = _mix(_mix(seeds) + (offset - 2**64 if offset >= 2**63 else offset))
    return ((x >> 11) & (2**53 - 1)).double() / 2**53


def derive_seeds(seed: int, count: int) -> list[int]:
    """Return `count` seeds for the replies to one request: the first is `seed`, the others follow from it."""
    if count == 1:
        return [seed]
    others = _mix(torch.arange(1, max(count, 1)) * (ODD - 2**64) + seed) & (SEED_LIMIT - 1)
    return [seed, *others.tolist()][:count]


def points_of(seeds: Tensor, longest: int) -> Tensor:
    """Return [B, T]: the numbers in [0, 1) (float64) at which lanes with `seeds` [B] draw the tokens of a reply."""
    return torch.stack([uniforms(seeds, position * DRAWS) for position in range(longest)], dim=1)


def _mix(x: Tensor) -> Tensor:
    # Right shifts must bring in zeros, and torch shifts int64 arithmetically: mask the sign's copies away.
    x = (x ^ ((x >> 30) & (2**34 - 1))) * -4658895280553007687
    x = (x ^ ((x >> 27) & (2**37 - 1))) * -7723592293110705685
    return x ^ ((x >> 31) & (2**33 - 1))


def _ngram_endings(history: list[int], size: int) -> list[int]:
    """Return the tokens that would complete an n-gram of `size` that `history` already holds."""
    if size < 1 or len(history) < size:
        return []
    tail = history[len(history) - size + 1 :]
    return [history[i + size - 1] for i in range(len(history) - size + 1) if history[i : i + size - 1] == tail]


@torch.no_grad()
def write_replies(generator: Generator, state: State, lanes: Lanes, begun: Tensor | None = None) -> Sampled:
    """Write one reply in each lane of `state` and return them; lanes that have ended stop costing work.

    With `begun` [B, t] every lane goes on from these tokens, of which `state` has read all but the last, and draws what
    it would have drawn had it written them itself. `state` is used up. Follows the model's training mode as it is: who
    samples calls `eval()` first.
    """
    count, device = len(lanes), lanes.seeds.device
    longest = int(lanes.max_tokens.max())
    tokens = torch.full((count, longest), PAD, dtype=torch.long, device=device)
    alive = torch.arange(count, device=device)
    previous = torch.full((count,), START, dtype=torch.long, device=device)
    first = 0
    if begun is not None:
        first = begun.shape[1]
        tokens[:, :first], previous = begun, begun[:, -1]
    for position in range(first, longest):
        logits, state = generator.step(state, previous)
        drawn = lanes.draw(lanes.constrain(logits, tokens[alive, :position]), position)
        tokens[alive, position] = drawn
        goes_on = (drawn != TURN) & (position + 1 < lanes.max_tokens)
        remaining = int(goes_on.sum())
        if remaining == 0:
            break
        if remaining < len(alive):
            kept = goes_on.nonzero().squeeze(1)
            alive, drawn, state, lanes = alive[kept], drawn[kept], state.select(kept), lanes.select(kept)
        previous = drawn
    lengths = (tokens != PAD).sum(dim=1)
    return Sampled(tokens[:, : int(lengths.max())], lengths, (tokens == TURN).any(dim=1))


def plain_sampling(count: int, seeds: Tensor, longest: int) -> Lanes:
    """Return lanes that draw from the model's own distribution, as policy gradient needs: T = 1, nothing cut."""
    return Lanes([Decoding(temperature=1.0, min_tokens=0)] * count, seeds, longest)
