"""The queue before the engines: bounded, two classes, fair between models, with deadlines. Knows no torch, no threads.

Sizes count replies to be drawn (lanes), not requests.
"""

import math
from collections import Counter, OrderedDict, deque
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
        """Let at most `capacity` replies of each class wait."""
        self._capacity = capacity
        # A model that was served goes to the end of its class: dictionaries keep the order.
        self._classes: tuple[OrderedDict[str, deque[Waiting[T]]], ...] = (OrderedDict(), OrderedDict())
        self._sizes: tuple[Counter[str], ...] = (Counter(), Counter())

    @property
    def size(self) -> int:
        """Return how many replies wait."""
        return sum(self.waiting(urgency) for urgency in Urgency)

    def __iter__(self) -> Iterator[Waiting[T]]:
        for models in self._classes:
            for line in models.values():
                yield from line

    def waiting(self, urgency: Urgency, model: str | None = None) -> int:
        """Return how many replies of a class wait, of one model or of all."""
        sizes = self._sizes[urgency]
        return sizes.total() if model is None else sizes[model]

    def has_room(self, size: int, model: str, urgency: Urgency, most: float = math.inf) -> bool:
        """Say whether `size` more replies may wait in a class, and not more than `most` of it for `model`.

        Where nothing waits there is room for any number, else a small bound could refuse a large request for ever.
        Lists that are worked through take no room from those who sit before the screen.
        """
        waiting, same = self.waiting(urgency), self.waiting(urgency, model)
        return (not waiting or waiting + size <= self._capacity) and (not same or same + size <= most)

    def add(self, waiting: Waiting[T]) -> None:
        """Let a request wait behind those of its class and model."""
        self._classes[waiting.urgency].setdefault(waiting.model, deque()).append(waiting)
        self._sizes[waiting.urgency][waiting.model] += waiting.size

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
                    self._count_out(waiting)
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
        for waiting in removed:
            self._count_out(waiting)
        return removed

    def _count_out(self, waiting: Waiting[T]) -> None:
        sizes = self._sizes[waiting.urgency]
        sizes[waiting.model] -= waiting.size
        if not sizes[waiting.model]:
            del sizes[waiting.model]

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
