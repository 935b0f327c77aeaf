"""The engine: writes many replies at once with one generator, each beginning and ending at any step.

Knows token ids only. Newcomers are encoded in groups apart from stepping; a lane that ends is filled at once. What a
lane draws depends on its own context, settings and seed. Not safe for several threads: one owner submits, cancels and
steps. B lanes in use, C lanes there are, S context tokens, T reply tokens, V vocabulary.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from chatbot.decoding import Decoding, Lanes
from chatbot.engine.fused import fused_draw
from chatbot.engine.room import CONTEXT_STEP, Room
from chatbot.generator.interface import Generator, State
from chatbot.tokenizer import PAD, START, TURN

_BUCKETS: Final = (1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64, 96, 128, 192, 256, 384, 512)
"""Lanes are stepped in these numbers by generators that prepare for each: kernels are chosen or steps recorded once."""
_GROUP: Final = 16
"""Contexts encoded together at most: those who are writing wait meanwhile."""
_ENOUGH: Final = 3
"""Newcomers that make a group at once."""
_PATIENCE: Final = 1
"""Steps that fewer newcomers wait for others to come."""
_CROWD: Final = 32
"""Where more than so many are writing, groups are twice as large and wait twice as long: the weights of the encoder are
read once for each group, and those who wait are soon more."""


@dataclass(frozen=True)
class Work:
    """Replies to one context: one for each seed, all by one decoding whose `max_tokens` is set."""

    key: int
    context: Sequence[int]
    decoding: Decoding
    seeds: Sequence[int]
    watched: bool = False
    """Every token is told at its step, and not only the whole reply at its end."""
    logprobs: int | None = None
    """Tell each token's log-probability, and so many of the likeliest tokens'."""


@dataclass(frozen=True)
class TokenOdds:
    """The log-probability of a drawn token under the model itself, and the likeliest tokens with theirs."""

    logprob: float
    likeliest: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Written:
    """A token that a watched reply went on with."""

    key: int
    reply: int
    token: int
    odds: TokenOdds | None = None


@dataclass(frozen=True)
class Finished:
    """A reply that has ended: its tokens with the end token, if it drew one."""

    key: int
    reply: int
    tokens: tuple[int, ...]
    ended: bool
    """It drew the end token, and was not cut at its limit."""
    odds: tuple[TokenOdds, ...] = ()


@dataclass
class Step:
    """What one step did: tokens of watched replies first, then the replies that ended, then work that failed."""

    written: list[Written] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)
    failed: list[tuple[int, Exception]] = field(default_factory=list)


@dataclass
class _Lane:
    work: Work
    reply: int
    odds: list[TokenOdds] = field(default_factory=list)


@dataclass
class _Encoded:
    """Work whose context is encoded and whose replies have not all got a lane yet."""

    work: Work
    state: State
    begun: int = 0


class Engine:
    """Write replies in up to `lanes` lanes of `generator`, which must be in evaluation mode on `device`."""

    def __init__(
        self, generator: Generator, context_tokens: int, lanes: int = 64, device: str | torch.device = "cpu"
    ) -> None:
        self._generator = generator
        self._device = torch.device(device)
        self._capacity = lanes
        self._draw = fused_draw(self._device)
        with torch.inference_mode():
            self._room = Room.build(generator, lanes, context_tokens, self._device)
            self._written = torch.full((lanes, generator.reply_tokens), PAD, dtype=torch.long, device=self._device)
            self._previous = torch.full((lanes,), START, dtype=torch.long, device=self._device)
            self._position = torch.zeros(lanes, dtype=torch.long, device=self._device)
        self._waiting: deque[Work] = deque()
        self._waited = 0
        self._encoded: deque[_Encoded] = deque()
        self._lanes: list[_Lane | None] = []
        """Lanes 0 to B - 1; None is one whose reply has ended since the last step."""
        self._settings: Lanes | None = None

    @property
    def busy(self) -> bool:
        """Return whether there is anything left to do."""
        return bool(self._waiting or self._encoded or any(self._lanes))

    @property
    def writing(self) -> int:
        """Return how many replies are being written."""
        return sum(lane is not None for lane in self._lanes)

    @property
    def capacity(self) -> int:
        """Return how many replies can be written at once."""
        return self._capacity

    def submit(self, work: Work) -> None:
        """Let `work` begin as soon as lanes are free, behind what was submitted before."""
        self._waiting.append(work)

    def cancel(self, key: int) -> None:
        """Forget the work `key`: its lanes are free from now on. Unknown keys are fine: it may just have ended."""
        self._waiting = deque(work for work in self._waiting if work.key != key)
        self._encoded = deque(encoded for encoded in self._encoded if encoded.work.key != key)
        self._release([row for row, lane in enumerate(self._lanes) if lane is not None and lane.work.key == key])

    def end(self, key: int, reply: int) -> None:
        """End one reply, whose reader has read enough; its lane is free from now on."""
        for row, lane in enumerate(self._lanes):
            if lane is not None and lane.work.key == key and lane.reply == reply:
                self._release((row,))

    @torch.inference_mode()
    def step(self) -> Step:
        """Take newcomers in, write one token in every lane, and say what came of it.

        An exception of the generator answers the work that it held, and never leaves here.
        """
        step = Step()
        try:
            self._admit(step)
            self._close_gaps()
            if self._lanes:
                self._advance(step)
        except Exception as error:
            keys = dict.fromkeys(lane.work.key for lane in self._lanes if lane is not None)
            keys |= dict.fromkeys(encoded.work.key for encoded in self._encoded)
            for key in keys:
                self.cancel(key)
                step.failed.append((key, error))
            step.written = [written for written in step.written if written.key not in keys]
            step.finished = [finished for finished in step.finished if finished.key not in keys]
        return step

    def _admit(self, step: Step) -> None:
        """Give free lanes to encoded work, and encode a group of those who wait where that leaves lanes free."""
        self._begin()
        free = self._capacity - self.writing
        if not self._waiting or not free:
            return
        larger = 2 if self.writing > _CROWD else 1
        if any(self._lanes) and len(self._waiting) < larger * _ENOUGH and self._waited < larger * _PATIENCE:
            self._waited += 1
            return
        self._waited = 0
        group: list[Work] = []
        wanted = 0
        while self._waiting and wanted < free and len(group) < _GROUP:
            group.append(self._waiting.popleft())
            wanted += len(group[-1].seeds)
        self._encode(group, step)
        self._begin()

    def _encode(self, group: Sequence[Work], step: Step) -> None:
        try:
            state = self._generator.encode(pad([work.context for work in group], self._device, CONTEXT_STEP))
        except Exception as error:
            if len(group) == 1:
                step.failed.append((group[0].key, error))
                return
            for work in group:  # one of them is to blame: the others must not pay for it
                self._encode([work], step)
            return
        alone = all(len(work.seeds) == 1 for work in group)
        if alone and len(group) <= self._capacity - self.writing:
            self._seat([_Lane(work, 0) for work in group], state, torch.arange(len(group), device=self._device))
            return
        for row, work in enumerate(group):
            self._encoded.append(_Encoded(work, state.select(torch.tensor([row], device=self._device))))

    def _begin(self) -> None:
        """Seat replies of encoded work while there are lanes; they share the encoded context."""
        while self._encoded and (free := self._capacity - self.writing):
            encoded = self._encoded[0]
            until = min(len(encoded.work.seeds), encoded.begun + free)
            lanes = [_Lane(encoded.work, reply) for reply in range(encoded.begun, until)]
            self._seat(lanes, encoded.state, torch.zeros(len(lanes), dtype=torch.long, device=self._device))
            encoded.begun = until
            if until == len(encoded.work.seeds):
                self._encoded.popleft()

    def _seat(self, lanes: Sequence[_Lane], state: State, rows: Tensor) -> None:
        """Begin replies in the gaps that others left, then behind the last lane."""
        gaps = [row for row, lane in enumerate(self._lanes) if lane is None][: len(lanes)]
        targets = [*gaps, *range(len(self._lanes), len(self._lanes) + len(lanes) - len(gaps))]
        self._room.place(targets, state, rows)
        index = torch.tensor(targets, device=self._device)
        self._written.index_fill_(0, index, PAD)
        self._previous.index_fill_(0, index, START)
        self._position.index_fill_(0, index, 0)
        self._lanes += [None] * (len(lanes) - len(gaps))
        for row, lane in zip(targets, lanes, strict=True):
            self._lanes[row] = lane
        self._settings = None

    def _close_gaps(self) -> None:
        """Move the last lanes into the gaps before them, so that those in use stand together."""
        count = self.writing
        gaps = [row for row in range(min(count, len(self._lanes))) if self._lanes[row] is None]
        last = [row for row in range(count, len(self._lanes)) if self._lanes[row] is not None]
        if gaps:
            self._room.move(last, gaps)
            source, target = torch.tensor(last, device=self._device), torch.tensor(gaps, device=self._device)
            for tensor in (self._written, self._previous, self._position):
                tensor.index_copy_(0, target, tensor.index_select(0, source))
            for old, new in zip(last, gaps, strict=True):
                self._lanes[new] = self._lanes[old]
        if count < len(self._lanes):
            self._room.clear(list(range(count, len(self._lanes))))
            del self._lanes[count:]
            self._settings = None

    def _advance(self, step: Step) -> None:
        count = len(self._lanes)
        bucket = count
        if self._generator.prepares_for_lanes:
            bucket = min(self._capacity, next((size for size in _BUCKETS if size >= count), self._capacity))
        longest = int(self._position[:count].max()) + 1 if self._device.type == "cpu" else self._generator.reply_tokens
        logits, stepped = self._generator.step(self._room.view(bucket, longest), self._previous[:bucket])
        self._room.keep(stepped, count)
        logits, position = logits[:count], self._position[:count]
        working = [lane for lane in self._lanes if lane is not None]
        unreadable = (~logits[:, TURN].isfinite()).nonzero().squeeze(1)
        if len(unreadable):
            logits = logits.index_fill(0, unreadable, 0.0)
        if self._settings is None:
            seeds = torch.tensor([lane.work.seeds[lane.reply] for lane in working], device=self._device)
            decodings = [lane.work.decoding for lane in working]
            self._settings = Lanes(decodings, seeds, self._generator.reply_tokens)
        told = [row for row, lane in enumerate(working) if lane.work.logprobs is not None]
        allowed = self._settings.constrain(logits, self._written[:count], position, in_place=not told)
        drawn = self._draw(self._settings, allowed, position)
        if told:
            self._note_odds(working, told, logits, drawn)
        self._written[:count].scatter_(1, position[:, None], drawn[:, None])
        self._previous[:count] = drawn
        position += 1  # a view: the lanes' own
        done = (drawn == TURN) | (position >= self._settings.max_tokens)
        if len(unreadable):
            self._give_up(unreadable.tolist(), step)
            done[unreadable] = False
        if any(lane.work.watched for lane in working):
            step.written = [
                Written(lane.work.key, lane.reply, token, lane.odds[-1] if lane.odds else None)
                for row, (lane, token) in enumerate(zip(working, drawn.tolist(), strict=True))
                if lane.work.watched and self._lanes[row] is not None
            ]
        rows = [row for row in done.nonzero().squeeze(1).tolist() if self._lanes[row] is not None]
        if rows:
            index = torch.tensor(rows, device=self._device)
            lengths, written = position[index].tolist(), self._written[index].tolist()
            for row, length, tokens in zip(rows, lengths, written, strict=True):
                lane = working[row]
                reply = tuple(tokens[:length])
                step.finished.append(Finished(lane.work.key, lane.reply, reply, reply[-1] == TURN, tuple(lane.odds)))
            self._release(rows)

    def _give_up(self, rows: Sequence[int], step: Step) -> None:
        """Fail the work of lanes whose logits are no numbers, and wipe the lanes: the next reply must not read them."""
        for key in dict.fromkeys(lane.work.key for row in rows if (lane := self._lanes[row]) is not None):
            step.failed.append((key, FloatingPointError("the model's logits are not finite")))
            self.cancel(key)
        self._room.wipe(rows)

    def _note_odds(self, working: Sequence[_Lane], rows: Sequence[int], logits: Tensor, drawn: Tensor) -> None:
        """Note, for the lanes `rows`, how likely what was drawn is, and what is likeliest."""
        index = torch.tensor(rows, device=self._device)
        logprobs = torch.log_softmax(logits[index], dim=1)
        own = logprobs.gather(1, drawn[index, None]).squeeze(1).tolist()
        most = max(working[row].work.logprobs or 0 for row in rows)
        top = logprobs.topk(min(most, logprobs.shape[1]), dim=1)
        for row, logprob, values, tokens in zip(rows, own, top.values.tolist(), top.indices.tolist(), strict=True):
            pairs = list(zip(tokens, values, strict=True))[: working[row].work.logprobs]
            working[row].odds.append(TokenOdds(logprob, tuple(pairs)))

    def _release(self, rows: Iterable[int]) -> None:
        for row in rows:
            self._lanes[row] = None
        self._settings = None


def pad(rows: Sequence[Sequence[int]], device: torch.device, multiple: int = 1) -> Tensor:
    """Return rows of ids as one tensor [B, S] (int64), PAD on the right up to the next `multiple`."""
    width = -(-max(len(row) for row in rows) // multiple) * multiple
    return torch.tensor([[*row, *[PAD] * (width - len(row))] for row in rows], dtype=torch.long, device=device)
