"""Where the states of all lanes live: one buffer, allocated once, written in place as replies begin and end.

C lanes at most, S context tokens, B lanes in use.
"""

from collections.abc import Sequence
from typing import Final, Self

import torch
from torch import Tensor

from chatbot.generator.interface import Generator, Part, State
from chatbot.tokenizer import PAD, START, TURN

CONTEXT_STEP: Final = 16
"""Contexts are padded to a multiple of this, the numbers of a vector register: sums over a context so come out the same
to the last bit, however much padding stands behind it."""


class Room:
    """Hold C lanes of a generator's state; the first ones are in use."""

    def __init__(self, state: State, parts: Sequence[Part], blank: Sequence[Part]) -> None:
        self._state = state
        self._parts = parts
        self._blank = blank
        self._widths = [1] * len(parts[0].tensor)

    @classmethod
    def build(cls, generator: Generator, lanes: int, context_tokens: int, device: torch.device) -> Self:
        """Return room for `lanes` replies to contexts that are padded to CONTEXT_STEP; longer ones make it grow.

        What lies close together is read faster, so there is no room for the longest context before it comes; on a GPU,
        where moving is dear, there is for `context_tokens` at once.
        A reply of one token is written first, for its state has every part.
        """
        width = -(-context_tokens // CONTEXT_STEP) * CONTEXT_STEP if device.type != "cpu" else CONTEXT_STEP
        context = torch.full((1, width), PAD, dtype=torch.long, device=device)
        context[:, 0] = TURN
        _, state = generator.step(generator.encode(context), torch.tensor([START], device=device))
        shapes = [(part, (lanes, *part.tensor.shape[1:])) for part in state.parts()]
        parts = [Part(part.tensor.new_zeros(shape), part.context, part.reply) for part, shape in shapes]
        room = cls(state, parts, generator.encode(context[:, :CONTEXT_STEP]).parts())
        room.clear(list(range(lanes)))
        return room

    def __len__(self) -> int:
        return len(self._widths)

    def view(self, lanes: int, longest: int) -> State:
        """Return the first `lanes` lanes as a state of its own that shares this memory.

        Contexts are cut to the longest, replies to `longest` tokens or some more: no lane may have written so many.
        """
        width = max(self._widths[:lanes])
        length = -(-longest // CONTEXT_STEP) * CONTEXT_STEP
        tensors = []
        for part in self._parts:
            tensor = part.tensor[:lanes]
            if part.context is not None:
                tensor = tensor.narrow(part.context, 0, width)
            elif part.reply is not None:
                tensor = tensor.narrow(part.reply, 0, min(length, tensor.shape[part.reply]))
            tensors.append(tensor)
        return self._state.with_parts(tensors)

    def keep(self, stepped: State, lanes: int) -> None:
        """Take over what a step over a view made anew, for the first `lanes` lanes."""
        for part, new in zip(self._parts, stepped.parts(), strict=True):
            if part.context is None and part.reply is None:
                part.tensor[:lanes].copy_(new.tensor[:lanes])

    def place(self, lanes: Sequence[int], state: State, rows: Tensor) -> None:
        """Write `rows` of a freshly encoded `state` over `lanes`; what their last reply left there goes."""
        self._write(lanes, state.parts(), rows)

    def move(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy the lanes `sources` over `targets`."""
        source, target = torch.tensor(sources, device=self._device), torch.tensor(targets, device=self._device)
        for part in self._parts:
            part.tensor.index_copy_(0, target, part.tensor.index_select(0, source))
        for old, new in zip(sources, targets, strict=True):
            self._widths[new] = self._widths[old]

    def clear(self, lanes: Sequence[int]) -> None:
        """Make `lanes` idle: they hold a short empty context, so that stepping them along is harmless."""
        if lanes:
            self._write(lanes, self._blank, torch.zeros(len(lanes), dtype=torch.long, device=self._device))

    def wipe(self, lanes: Sequence[int]) -> None:
        """Make `lanes` idle and leave nothing of what they held, for instance numbers that are none."""
        for part in self._parts:
            part.tensor[list(lanes)] = 0
        self.clear(lanes)

    @property
    def _device(self) -> torch.device:
        return self._parts[0].tensor.device

    def _write(self, lanes: Sequence[int], parts: Sequence[Part], rows: Tensor) -> None:
        target = torch.tensor(lanes, device=self._device)
        width = max((part.tensor.shape[part.context] for part in parts if part.context is not None), default=1)
        self._grow(width)
        for part, new in zip(self._parts, parts, strict=False):  # those of the reply, the last ones, are not there yet
            tensor = new.tensor.index_select(0, rows)
            if part.context is None:
                part.tensor.index_copy_(0, target, tensor)
                continue
            if tensor.dtype == torch.bool:  # the mask: everything behind this context is hidden
                part.tensor.index_fill_(0, target, False)
            part.tensor.narrow(part.context, 0, width).index_copy_(0, target, tensor)
        for lane in lanes:
            self._widths[lane] = width

    def _grow(self, width: int) -> None:
        """Make room for contexts of `width` tokens, if there is none yet."""
        grown = []
        for part in self._parts:
            if part.context is not None and width > part.tensor.shape[part.context]:
                shape = list(part.tensor.shape)
                shape[part.context] = width
                tensor = part.tensor.new_zeros(shape)
                tensor.narrow(part.context, 0, part.tensor.shape[part.context]).copy_(part.tensor)
                part = part._replace(tensor=tensor)
            grown.append(part)
        self._parts = grown
