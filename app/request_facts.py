"""What is noted of a request while it is answered, for its one line in the log: names and numbers, never a text.

A note reaches the request's line from wherever it is made: from a task or a thread of its own, too. Outside of a
request it goes nowhere.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Fact = str | int | float | bool

_facts: ContextVar[dict[str, Fact] | None] = ContextVar("rejoinder_request_facts", default=None)


@contextmanager
def noting() -> Iterator[dict[str, Fact]]:
    """Give the notes of one request, empty at first; whatever is noted within the block is found there."""
    facts: dict[str, Fact] = {}
    token = _facts.set(facts)
    try:
        yield facts
    finally:
        _facts.reset(token)


def note(**facts: Fact) -> None:
    """Note names and numbers of the request in hand, such as `model` or `key_id`; a later note replaces an earlier."""
    if (noted := _facts.get()) is not None:
        noted.update(facts)


def count(**numbers: int) -> None:
    """Add to numbers of the request in hand, such as `tokens`."""
    if (noted := _facts.get()) is not None:
        for name, number in numbers.items():
            noted[name] = int(noted.get(name, 0)) + number


def noted() -> dict[str, Fact]:
    """Return what has been noted of the request in hand so far; nothing outside of one."""
    return dict(_facts.get() or {})
