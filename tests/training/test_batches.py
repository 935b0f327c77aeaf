"""Batches: every pair once in an epoch, in an order that a seed fixes and a resumed run continues."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.tokenizer import PAD, TURN
from tests.training.toys import CPU, DATA, Pair, split_of
from training.batches import Batches, make_batch
from training.config import DataConfig
from training.errors import RunError

LIMITS = DataConfig(context_tokens=6, reply_tokens=8)


def numbered(count: int) -> list[Pair]:
    """Return pairs with contexts that tell them apart, and replies of 0 to 6 words."""
    return [([3 + i // 60, 3 + i % 60], [5] * (i * 7 % 6 + 1)) for i in range(count)]


def contexts(batches: Batches, count: int) -> list[list[tuple[int, ...]]]:
    return [[tuple(row) for row in batches.next().context.tolist()] for _ in range(count)]


@given(count=st.integers(2, 300), size=st.integers(1, 40), seed=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_each_epoch_has_every_pair_once_but_for_a_last_short_batch(count: int, size: int, seed: int) -> None:
    batches = Batches(split_of(numbered(count)), size, LIMITS, seed, CPU)
    size = min(size, count)
    for _ in range(2):
        seen = Counter(row for batch in contexts(batches, count // size) for row in batch)
        assert set(seen.values()) == {1}
        assert len(seen) == count // size * size
    assert batches.epochs == 2.0


def test_a_seed_fixes_the_order_and_each_epoch_has_its_own() -> None:
    split = split_of(numbered(100))
    one, two, other = (Batches(split, 10, LIMITS, seed, CPU) for seed in (1, 1, 2))
    first, second = contexts(one, 10), contexts(one, 10)
    assert first == contexts(two, 10)
    assert first != second
    assert first != contexts(other, 10)


@pytest.mark.parametrize("taken", [0, 3, 10, 17])
def test_taken_up_again_the_order_goes_on(taken: int) -> None:
    split = split_of(numbered(100))
    one, two = Batches(split, 10, LIMITS, 1, CPU), Batches(split, 10, LIMITS, 1, CPU)
    contexts(one, taken)
    two.load_state_dict(one.state_dict())
    assert two.epochs == one.epochs
    assert contexts(two, 15) == contexts(one, 15)


def test_pairs_of_like_length_stand_together() -> None:
    batches = Batches(split_of(numbered(300)), 10, LIMITS, 0, CPU)
    padding = [float((batches.next().reply == PAD).float().mean()) for _ in range(30)]
    assert sum(padding) / 30 < 0.1  # a third, were they mixed


def test_where_asked_for_every_batch_has_replies_of_all_lengths() -> None:
    batches = Batches(split_of(numbered(300)), 60, LIMITS, 0, CPU, by_length=False)
    for _ in range(5):
        assert len(set((batches.next().reply != PAD).sum(1).tolist())) == 6


def test_batches_are_in_random_order_not_by_length() -> None:
    batches = Batches(split_of(numbered(300)), 10, LIMITS, 0, CPU)
    lengths = [batches.next().reply.shape[1] for _ in range(30)]
    assert lengths != sorted(lengths)
    assert lengths != sorted(lengths, reverse=True)


def test_a_split_smaller_than_a_batch_is_one_batch() -> None:
    batches = Batches(split_of(numbered(3)), 64, LIMITS, 0, CPU)
    assert len(batches.next()) == 3
    assert batches.epochs == 1.0
    assert len(batches.next()) == 3


@pytest.mark.parametrize("count", [0, 1])
def test_a_split_of_fewer_than_two_pairs_is_refused(count: int) -> None:
    with pytest.raises(RunError, match=f"the split has {count} pairs, expected at least 2"):
        Batches(split_of(numbered(count)), 4, LIMITS, 0, CPU)


def test_a_batch_holds_whole_pairs_padded_on_the_right_and_cut_at_the_limits() -> None:
    split = split_of([([3, 4], [5]), ([6], [7, 8, 3]), ([3] * 9, [4] * 9)])
    batch = make_batch(split, torch.tensor([1, 0]).numpy(), DATA, CPU)
    assert batch.context.tolist() == [[6, TURN, PAD], [3, 4, TURN]]
    assert batch.reply.tolist() == [[7, 8, 3, TURN], [5, TURN, PAD, PAD]]
    cut = make_batch(split, torch.tensor([2]).numpy(), DATA, CPU)
    assert cut.context.tolist() == [[3] * 7 + [TURN]]
    assert cut.reply.tolist() == [[4] * DATA.reply_tokens]


def test_contexts_of_like_length_stand_together_too() -> None:
    rng = np.random.default_rng(0)
    pairs = [([5] * int(rng.integers(1, 20)), [6] * int(rng.integers(1, 20))) for _ in range(2000)]
    batches = Batches(split_of(pairs), 10, DataConfig(20, 20), 0, CPU)
    drawn = [batches.next() for _ in range(200)]
    for part, most in (("context", 0.25), ("reply", 0.12)):  # nearly half, were they mixed
        assert sum(float((getattr(b, part) == PAD).float().mean()) for b in drawn) / 200 < most
