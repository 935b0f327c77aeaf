"""The queue before the engines: bounded, two classes, fair between models, with deadlines. Knows no torch, no threads.

Sizes count replies to be drawn (lanes), not requests.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class Urgency(IntEnum):
    """Which class a request waits in: somebody sits before the screen, or a list is worked through."""

    INTERACTIVE = 0
    BATCH = 1


@dataclass(frozen=True, eq=False)
class Waiting(Generic[T]):
    """One request in the queue."""

    item: T
    model: str
    size: int
    urgency: Urgency
    deadline: float
    """On the caller's clock; passed, it is given up."""


class WaitingLine(Generic[T]):
    """Requests in the order in which they are to begin: interactive first, models in turn, a model's oldest first."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        # A model that was served goes to the end of its class: dictionaries keep the order.
        self._classes: tuple[OrderedDict[str, deque[Waiting[T]]], ...] = (OrderedDict(), OrderedDict())
        self.size = 0
        """Replies that wait."""

    def __iter__(self) -> Iterator[Waiting[T]]:
        for models in self._classes:
            for line in models.values():
                yield from line

    def has_room(self, size: int) -> bool:
        """Say whether `size` more replies may wait.

        An empty queue takes any number, else a small capacity could refuse a large request for ever.
        """
        return self.size == 0 or self.size + size <= self._capacity

    def add(self, waiting: Waiting[T]) -> None:
        """Let a request wait behind those of its class and model."""
        self._classes[waiting.urgency].setdefault(waiting.model, deque()).append(waiting)
        self.size += waiting.size

    def take(self, fits: Callable[[Waiting[T]], bool]) -> Waiting[T] | None:
        """Remove and return the next request for whose model there is room; None when there is none.

        A model's oldest request is not overtaken by a smaller one of its class, so large ones do not starve.
        """
        for models in self._classes:
            for model, line in models.items():
                if fits(line[0]):
                    waiting = line.popleft()
                    if line:
                        models.move_to_end(model)
                    else:
                        del models[model]
                    self.size -= waiting.size
                    return waiting
        return None

    def remove(self, unwanted: Callable[[Waiting[T]], bool]) -> list[Waiting[T]]:
        """Remove and return the requests that are `unwanted`."""
        removed: list[Waiting[T]] = []
        for models in self._classes:
            for model in list(models):
                left: deque[Waiting[T]] = deque()
                for waiting in models[model]:
                    (removed if unwanted(waiting) else left).append(waiting)
                if left:
                    models[model] = left
                else:
                    del models[model]
        self.size -= sum(waiting.size for waiting in removed)
        return removed

    def expire(self, now: float) -> list[Waiting[T]]:
        """Remove and return the requests whose deadline has passed."""
        return self.remove(lambda waiting: waiting.deadline <= now)


class Pace:
    """How many replies are finished in a second, measured over the busy time of late."""

    def __init__(self, guess: float = 20.0, memory_s: float = 5.0) -> None:
        self._rate = guess
        self._memory_s = memory_s
        self._since: float | None = None
        self._count = 0

    def note(self, finished: int, now: float, busy: bool) -> None:
        """Count replies finished until `now`; time in which nothing was to be done is not counted."""
        if self._since is None:
            self._since = now
        self._count += finished
        seconds = now - self._since
        if seconds >= 0.25 and self._count:
            weight = 1 - math.exp(-seconds / self._memory_s)
            self._rate += weight * (self._count / seconds - self._rate)
            self._since, self._count = now, 0
        if not busy:
            self._since, self._count = None, 0

    def seconds(self, replies: int) -> int:
        """Return how long `replies` will take, in whole seconds from 1 to 60."""
        return min(60, max(1, math.ceil(replies / max(self._rate, 1e-3))))
