"""Counters that replicas share, for the library `limits`: counted in memory, exchanged through the database.

A request never waits for the database. What was counted is added there once a second, and what comes back is what all
replicas counted: so a limit may be passed by what the others let through since this one counted last.
Used on the event loop alone.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from limits.storage import Storage

from app.rate_limits.repository import Hits

MOST: Final = 100_000
"""Keys and addresses counted apart; those beyond share one counter, so that no flood of addresses fills the memory."""
CROWD: Final = "crowd"


@dataclass
class _Count:
    """One window of one key or address."""

    start: int
    ends: int
    shared: int = 0
    """What the database said last."""
    sent: int = 0
    """What is on its way there."""
    pending: int = 0

    @property
    def total(self) -> int:
        return self.shared + self.sent + self.pending


class SharedCounters(Storage):
    """Counts in windows that begin at whole multiples of their length: the same in every replica."""

    STORAGE_SCHEME = None

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._clock = clock
        self._counts: dict[str, _Count] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        """Return what can go wrong here: nothing of its own."""
        return ArithmeticError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count, and return how many there are in the window of `expiry` seconds."""
        count = self._count(key, expiry)
        count.pending += amount
        return count.total

    def get(self, key: str) -> int:
        """Return how many were counted in the present window."""
        count = self._counts.get(key)
        return count.total if count is not None and self._clock() < count.ends else 0

    def get_expiry(self, key: str) -> float:
        """Return when the present window ends, in Unix time."""
        count = self._counts.get(key)
        return self._clock() if count is None else count.ends

    def check(self) -> bool:
        """Say that counting works: it needs nobody else."""
        return True

    def reset(self) -> int | None:
        """Forget all that was counted here, and return how much that was."""
        counted = len(self._counts)
        self._counts.clear()
        return counted

    def clear(self, key: str) -> None:
        """Forget what was counted here for one key or address."""
        self._counts.pop(key, None)

    def take(self) -> list[Hits]:
        """Return what the database has not heard yet; `learn` or `put_back` must follow. Ended windows are dropped."""
        now = self._clock()
        self._counts = {name: count for name, count in self._counts.items() if now < count.ends}
        taken = []
        for name, count in self._counts.items():
            if count.pending:
                taken.append(Hits(name, count.start, count.pending, count.ends))
                count.sent, count.pending = count.pending, 0
        return taken

    def learn(self, totals: Iterable[Hits]) -> None:
        """Take over what all replicas counted together, after `take`."""
        for total in totals:
            count = self._counts.get(total.bucket)
            if count is not None and count.start == total.window_start:
                count.shared, count.sent = total.hits, 0

    def put_back(self, taken: Iterable[Hits]) -> None:
        """Keep what the database would not take."""
        for hits in taken:
            count = self._counts.get(hits.bucket)
            if count is not None and count.start == hits.window_start:
                count.pending, count.sent = count.pending + count.sent, 0

    def _count(self, key: str, expiry: int) -> _Count:
        now = int(self._clock())
        start = now - now % expiry
        count = self._counts.get(key)
        if count is None and len(self._counts) >= MOST:
            key = f"{CROWD}/{expiry}"
            count = self._counts.get(key)
        if count is None or count.start != start:
            count = self._counts[key] = _Count(start, start + expiry)
        return count
