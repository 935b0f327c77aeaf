"""Balanced designs: laws that hold for every size."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.studies import design

sizes = st.tuples(st.integers(1, 30), st.integers(1, 15)).flatmap(
    lambda size: st.tuples(st.just(size[0]), st.just(size[1]), st.integers(0, size[0] * size[1]))
)


@settings(deadline=None)
@given(sizes)
def test_units_and_contexts_are_used_equally_often_and_never_meet_twice(size: tuple[int, int, int]) -> None:
    contexts, units, count = size
    cells = design.spread(contexts, units, count)
    assert len(cells) == len(set(cells)) == count
    for place, number in ((0, contexts), (1, units)):
        used = Counter(cell[place] for cell in cells)
        assert set(used) <= set(range(number))
        assert max((used[i] for i in range(number)), default=0) - min(used[i] for i in range(number)) <= 1


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(2, 6), st.integers(0, 60), st.integers(0, 9))
def test_each_pair_of_systems_is_compared_equally_often(contexts: int, systems: int, count: int, seed: int) -> None:
    count = min(count, contexts * systems * (systems - 1) // 2)
    cells = design.pairs(contexts, systems, count, Random(seed))
    assert len(cells) == count
    used = Counter(frozenset((cell.a, cell.b)) for cell in cells)
    assert all(len(pair) == 2 for pair in used)
    number = systems * (systems - 1) // 2
    counts = [*used.values(), *[0] * (number - len(used))]
    assert max(counts) - min(counts) <= 1
    assert len({(cell.context, frozenset((cell.a, cell.b))) for cell in cells}) == count


def test_either_system_of_a_pair_may_be_a() -> None:
    cells = design.pairs(400, 2, 400, Random(1))
    first = sum(cell.a == 0 for cell in cells)
    assert 150 < first < 250  # 200 expected, standard deviation 10
    assert cells != design.pairs(400, 2, 400, Random(2))
    assert cells == design.pairs(400, 2, 400, Random(1))


def test_half_of_human_or_machine_is_human() -> None:
    cells = design.half_human(30, 1, [0, 2, 3], 30, Random(0))
    assert Counter(cell.a for cell in cells) == {1: 15, 0: 5, 2: 5, 3: 5}
    assert len({cell.context for cell in cells}) == 30


def test_a_share_is_a_share_of_all_items() -> None:
    assert design.share_of(0.0, 100) == 0
    assert design.share_of(0.1, 90) == 10  # of 100
    assert design.share_of(0.5, 7) == 7
    assert design.share_of(0.001, 5) == 1  # asked for is at least one


def test_one_system_makes_no_pair() -> None:
    with pytest.raises(ValueError, match="1 systems make no pair"):
        design.pairs(3, 1, 3, Random(0))
