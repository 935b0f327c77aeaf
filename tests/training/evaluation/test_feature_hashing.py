"""Hashed n-grams: which ones there are, and that they are the same everywhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.feature_hashing import flatten, mix, ngram_hashes, pair_hashes

ROWS = st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=6)


def test_mix_is_the_published_finalizer() -> None:
    # The first outputs of SplitMix64 from state 0 are mix(0) and mix(golden ratio), as published with it.
    seen = mix(np.array([0, 0x9E3779B97F4A7C15], np.uint64))
    assert [hex(value) for value in seen.tolist()] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]


def test_hashes_are_the_same_in_every_process() -> None:
    _, hashes = ngram_hashes(*flatten([[1, 2]]), 2, salt=1)
    assert hashes.tolist() == [4600493287448056188]


@given(ROWS, st.integers(1, 4))
def test_ngrams_stay_in_their_rows_and_equal_ones_have_equal_hashes(rows: list[list[int]], order: int) -> None:
    owners, hashes = ngram_hashes(*flatten(rows), order, salt=0)
    expected = [(i, tuple(row[k : k + order])) for i, row in enumerate(rows) for k in range(len(row) - order + 1)]
    assert owners.tolist() == [owner for owner, _ in expected]
    names: dict[tuple[int, ...], int] = {}
    for (_, gram), value in zip(expected, hashes.tolist(), strict=True):
        assert names.setdefault(gram, value) == value
    assert len(set(names.values())) == len(names)


def test_order_and_salt_and_place_tell_ngrams_apart() -> None:
    one, other, reverse, longer = (
        ngram_hashes(*flatten(rows), order, salt)[1][0]
        for rows, order, salt in (([[1, 2]], 2, 0), ([[1, 2]], 2, 1), ([[2, 1]], 2, 0), ([[1, 2, 0]], 3, 0))
    )
    assert len({int(one), int(other), int(reverse), int(longer)}) == 4
    with pytest.raises(ValueError, match="0-grams"):
        ngram_hashes(*flatten([[1]]), 0, 0)


def test_pairs_are_of_different_symbols_of_the_same_row() -> None:
    owners, hashes = pair_hashes([[1, 2, 1], [], [7]], [[3, 4], [5], [3]], salt=0)
    assert owners.tolist() == [0, 0, 0, 0, 2]
    assert len(set(hashes.tolist())) == 5
    assert set(pair_hashes([[1]], [[2]], 0)[1].tolist()).isdisjoint(pair_hashes([[2]], [[1]], 0)[1].tolist())
    assert pair_hashes([[]], [[1]], 0)[1].size == 0
