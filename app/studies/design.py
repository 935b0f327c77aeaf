"""Which reply meets which, to which context: balanced designs. Pure combinatorics: knows no text and no database.

`C` contexts, `S` systems, `U` units: what one item shows, a pair of systems or one system.
"""

import math
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Cell:
    """One item to be: context and systems by their index; `b` is None where one reply is shown alone."""

    context: int
    a: int
    b: int | None = None


def spread(contexts: int, units: int, count: int) -> list[tuple[int, int]]:
    """Return `count` (context, unit) pairs in which units, and contexts, are used equally often, give or take one.

    No context meets a unit twice as long as `count` is at most C x U. The passes over the contexts go on with the cycle
    of units where the last one stopped; whenever that cycle would repeat itself, the contexts are turned by one.
    """
    common = math.gcd(contexts, units)
    cells = []
    for i in range(count):
        turn, slot = divmod(i, contexts)
        shift = turn % units * common // units
        cells.append(((slot - shift) % contexts, i % units))
    return cells


def pairs(contexts: int, systems: int, count: int, rng: Random) -> list[Cell]:
    """Return `count` pairs of different systems: pairs, and contexts, equally often, give or take one.

    Which of the two is called a is drawn. Raises ValueError for fewer than two systems.
    """
    if systems < 2:
        raise ValueError(f"{systems} systems make no pair")
    units = [(a, b) for a in range(systems) for b in range(a + 1, systems)]
    rng.shuffle(units)
    order = _shuffled(contexts, rng)
    cells = []
    for context, unit in spread(contexts, len(units), count):
        a, b = units[unit] if rng.random() < 0.5 else units[unit][::-1]
        cells.append(Cell(order[context], a, b))
    return cells


def singles(contexts: int, systems: int, count: int, rng: Random) -> list[Cell]:
    """Return `count` single replies: each system equally often, each context as often as any, give or take one."""
    units = _shuffled(systems, rng)
    order = _shuffled(contexts, rng)
    return [Cell(order[context], units[unit]) for context, unit in spread(contexts, systems, count)]


def half_human(contexts: int, human: int, machines: list[int], count: int, rng: Random) -> list[Cell]:
    """Return `count` single replies of which half are the human's and the rest the machines', equally often each."""
    order = _shuffled(contexts, rng)
    rest = machines.copy()
    rng.shuffle(rest)
    units = [unit for machine in rest for unit in (human, machine)]
    return [Cell(order[context], units[unit]) for context, unit in spread(contexts, len(units), count)]


def same_system(contexts: int, systems: list[int], count: int, rng: Random) -> list[Cell]:
    """Return `count` A/A pairs: two replies of one system to the same context."""
    order = _shuffled(contexts, rng)
    return [
        Cell(order[context], systems[unit], systems[unit]) for context, unit in spread(contexts, len(systems), count)
    ]


def share_of(rate: float, ordinary: int) -> int:
    """Return how many items beside `ordinary` ones make up the share `rate` of all; at least one when rate > 0."""
    return max(1, round(ordinary * rate / (1 - rate))) if rate > 0 else 0


def _shuffled(n: int, rng: Random) -> list[int]:
    order = list(range(n))
    rng.shuffle(order)
    return order
