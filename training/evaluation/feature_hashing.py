"""N-grams of any symbols as numbers, the same on every machine and in every process.

Knows rows of symbols, given flat with their lengths; refuses to know what they stand for. Python's own hash changes
from process to process, so nothing here uses it.
`N` rows, `n` symbols in all rows together.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Ids = npt.NDArray[np.int64]


def flatten(rows: Sequence[Sequence[int]]) -> tuple[Hashes, Ids]:
    """Return the symbols of all rows in one row [n], and the length of each row [N]."""
    lengths = np.array([len(row) for row in rows], np.int64)
    return np.array([symbol for row in rows for symbol in row], np.int64).astype(np.uint64), lengths


def row_numbers(lengths: Ids) -> Ids:
    """Return the row that each symbol stands in: [n]."""
    return np.repeat(np.arange(len(lengths)), lengths)


def ngram_hashes(symbols: Hashes, lengths: Ids, order: int, salt: int) -> tuple[Ids, Hashes]:
    """Return the row [m] and the hash [m] of every n-gram of `order` symbols that lies within one row.

    Another `salt` gives other hashes, so n-grams of different places do not meet.
    """
    if order < 1:
        raise ValueError(f"{order}-grams: n is at least 1")
    owners = row_numbers(lengths)
    starts = np.arange(len(symbols))
    ends = np.cumsum(lengths)[owners]
    whole = np.flatnonzero(starts + order <= ends)
    hashes = np.full(len(whole), salt * 16 + order, np.uint64)
    for offset in range(order):
        hashes = mix(hashes ^ mix(symbols[whole + offset]))
    return owners[whole], hashes


def mix(values: Hashes) -> Hashes:
    """Return `values` with every bit depending on all bits.

    Paper: Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators" (the finalizer of SplitMix).
    """
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def pair_hashes(first: Sequence[Iterable[int]], second: Sequence[Iterable[int]], salt: int) -> tuple[Ids, Hashes]:
    """Return the row [m] and the hash [m] of every pair of a symbol of a row of `first` and one of that of `second`."""
    rows = [(sorted(set(a)), sorted(set(b))) for a, b in zip(first, second, strict=True)]
    left = [np.repeat(np.array(a, np.int64), len(b)) for a, b in rows]
    right = [np.tile(np.array(b, np.int64), len(a)) for a, b in rows]
    sizes = np.array([len(a) * len(b) for a, b in rows], np.int64)
    if not sizes.sum():
        return np.zeros(0, np.int64), np.zeros(0, np.uint64)
    lefts, rights = (np.concatenate(side).astype(np.uint64) for side in (left, right))
    hashes = mix(mix(mix(lefts) ^ np.uint64(salt * 16)) ^ mix(rights))  # one side is mixed twice: pairs have an order
    return row_numbers(sizes), hashes
