"""A generator's step recorded once for each shape and played back, for dispatching it from Python costs as much again.

The record is torch.jit's, which is deprecated and used nowhere else: where it is gone, or cannot record a step, steps
are taken the plain way. The operators are the same ones, so the numbers are the same to the last bit.
"""

import logging
import warnings
from collections.abc import Callable
from typing import Any, Final, cast

import torch
from torch import Tensor

from chatbot.generator.interface import State

log = logging.getLogger(__name__)

Step = Callable[[State, Tensor], tuple[Tensor, State]]

Encode = Callable[[Tensor], State]
Record = Callable[..., Any]

_MOST: Final = 256
"""Shapes recorded at most; there are some 15 numbers of lanes, and few lengths of contexts and of replies."""


class TracedStep:
    """Do what `step` does, in evaluation mode and without gradients."""

    def __init__(self, step: Step) -> None:
        self._plain = step
        self._records = _Records()

    def __call__(self, state: State, tokens: Tensor) -> tuple[Tensor, State]:
        """Return the logits [B, V] and the state behind `tokens` [B]."""
        # A state that has no caches yet grows them in its first step, and is another kind of state afterwards.
        if torch.is_grad_enabled() or not state.complete:
            return self._plain(state, tokens)
        tensors = [part.tensor for part in state.parts()]

        def step(tokens: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
            logits, after = self._plain(state.with_parts(list(tensors)), tokens)
            return logits, *(part.tensor for part in after.parts())

        record = self._records.of(step, tokens, *tensors)
        if record is None:
            return self._plain(state, tokens)
        logits, *after = record(tokens, *tensors)
        return logits, state.with_parts(after)


class TracedEncoding:
    """Do what `encode` does, in evaluation mode and without gradients."""

    def __init__(self, encode: Encode) -> None:
        self._plain = encode
        self._records = _Records()
        self._kind: State | None = None

    def __call__(self, context: Tensor) -> State:
        """Return the encoded contexts [B, S]."""
        if torch.is_grad_enabled():
            return self._plain(context)
        if self._kind is None:
            self._kind = self._plain(context[:1])
        kind = self._kind
        record = self._records.of(lambda context: tuple(part.tensor for part in self._plain(context).parts()), context)
        return self._plain(context) if record is None else kind.with_parts(list(record(context)))


class _Records:
    """What was recorded, by the shapes of its arguments."""

    def __init__(self) -> None:
        self._by_shapes: dict[tuple[torch.Size, ...], Record] = {}
        self._possible = True

    def of(self, call: Record, *arguments: Tensor) -> Record | None:
        """Return the record of `call` for arguments of these shapes; None where nothing can be recorded."""
        shapes = tuple(argument.shape for argument in arguments)
        record = self._by_shapes.get(shapes)
        if record is None and self._possible:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    copies = tuple(argument.clone() for argument in arguments)  # steps write in place
                    record = cast(Record, torch.jit.trace(call, copies, check_trace=False))  # type: ignore[no-untyped-call]
            except (AttributeError, RuntimeError) as error:
                log.warning("steps cannot be recorded here (%s); they take longer", error)
                self._possible = False
                return None
            if len(self._by_shapes) >= _MOST:
                self._by_shapes.clear()
            self._by_shapes[shapes] = record
        return record
