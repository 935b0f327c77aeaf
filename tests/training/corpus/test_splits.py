"""Splits by dialogue: shares, given splits, tiny corpora, and that adding data moves nothing."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.corpus import splits
from training.corpus.errors import CorpusError
from training.corpus.splits import NOT_GIVEN, TEST, TRAIN, VALID, assign, fingerprint, position


def places(names: list[str], seed: int = 0) -> npt.NDArray[np.float64]:
    return np.array([position(fingerprint([name, "reply"]), seed) for name in names])


def free(count: int) -> npt.NDArray[np.int8]:
    return np.full(count, NOT_GIVEN, np.int8)


def test_fingerprints_tell_turns_apart() -> None:
    assert fingerprint(["a", "b"]) == fingerprint(["a", "b"])
    assert len({fingerprint(turns) for turns in (["ab", "c"], ["a", "bc"], ["a", "b", "c"], ["abc"])}) == 4


def test_positions_are_uniform_and_depend_on_the_seed() -> None:
    names = [str(i) for i in range(20_000)]
    found = places(names)
    assert np.histogram(found, bins=10, range=(0, 1))[0] == pytest.approx([2000] * 10, rel=0.1)
    assert abs(np.corrcoef(found, places(names, seed=1))[0, 1]) < 0.03


def test_the_shares_are_met() -> None:
    found = assign(places([str(i) for i in range(20_000)]), free(20_000), valid=0.1, test=0.2)
    assert np.bincount(found) / 20_000 == pytest.approx([0.7, 0.1, 0.2], abs=0.01)


@given(st.integers(), st.integers(1, 99))
def test_adding_dialogues_moves_no_other(seed: int, before: int) -> None:
    found = places([str(i) for i in range(100)], seed)
    early = assign(found[:before], free(before), valid=0.3, test=0.3)
    late = assign(found, free(100), valid=0.3, test=0.3)
    # Only a dialogue that stands in for a split without one of its own may go back when that split fills.
    own = np.where(found < 0.3, VALID, np.where(found < 0.6, TEST, TRAIN))
    moved = np.flatnonzero(early != late[:before])
    if set(own[:before]) == {TRAIN, VALID, TEST}:
        assert not len(moved)
    assert len(moved) <= 2
    assert np.array_equal(late[moved], own[moved])


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=3, max_size=12), st.floats(0.01, 0.5), st.floats(0.01, 0.4))
def test_three_dialogues_are_enough_for_every_split(positions: list[float], valid: float, test: float) -> None:
    found = assign(np.array(positions), free(len(positions)), valid, test)
    assert set(found) == {TRAIN, VALID, TEST}


def test_training_comes_first_when_there_are_too_few() -> None:
    assert list(assign(np.array([0.01]), free(1), 0.5, 0.4)) == [TRAIN]
    assert list(assign(np.array([0.01, 0.02]), free(2), 0.5, 0.4)) == [VALID, TRAIN]


def test_a_share_of_nothing_stays_empty() -> None:
    assert set(assign(places([str(i) for i in range(50)]), free(50), 0, 0)) == {TRAIN}


def test_the_stand_in_is_the_dialogue_next_in_line() -> None:
    found = assign(np.array([0.5, 0.2, 0.3, 0.9]), free(4), valid=0.1, test=0.05)
    assert list(found) == [TRAIN, VALID, TEST, TRAIN]


def test_given_splits_stay() -> None:
    given_splits = np.array([TRAIN] * 50 + [VALID] + [TEST], np.int8)
    assert list(assign(places([str(i) for i in range(52)]), given_splits, 0.3, 0.3)) == list(given_splits)


def test_a_split_that_is_not_given_is_drawn_from_training() -> None:
    given_splits = np.array([TRAIN] * 1000 + [TEST] * 10, np.int8)
    found = assign(places([str(i) for i in range(1010)]), given_splits, valid=0.1, test=0.1)
    assert np.bincount(found)[TEST] == 10
    assert np.bincount(found)[VALID] == pytest.approx(100, abs=30)


def test_a_given_training_dialogue_stands_in_for_a_split_that_nothing_was_given_to() -> None:
    given_splits = np.array([TRAIN, TRAIN, TRAIN, TEST], np.int8)
    found = assign(np.array([0.9, 0.7, 0.8, 0.1]), given_splits, valid=0.01, test=0.01)
    assert list(found) == [TRAIN, VALID, TRAIN, TEST]


def test_nothing_for_training_is_an_error() -> None:
    with pytest.raises(CorpusError, match="no dialogue is left for training"):
        assign(np.array([0.9, 0.8]), np.array([VALID, TEST], np.int8), 0.1, 0.1)


def test_the_module_and_the_layout_agree_on_the_order() -> None:
    assert [splits.SPLITS[i] for i in (TRAIN, VALID, TEST)] == ["train", "valid", "test"]
