"""Turns in padded contexts: taken out, added, cut as the bot cuts them, turned round."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chatbot.tokenizer import PAD, TURN
from tests.training.toys import CPU, DATA, batch_of, copy_task, padded, split_of
from training.turns import TurnedBatches, add_turn, alone, left_aligned, turn_back, turned_round, without_last

TURNS = st.lists(st.lists(st.integers(3, 8), min_size=1, max_size=5), min_size=1, max_size=5)


def rows(tokens: torch.Tensor) -> list[list[int]]:
    """Return the rows without padding, which must stand behind everything else."""
    found = [[i for i in row if i != PAD] for row in tokens.tolist()]
    assert [row[: len(kept)] for row, kept in zip(tokens.tolist(), found, strict=True)] == found
    return found


def cut(turns: list[list[int]], most: int) -> list[int]:
    """Return what `chatbot.bot.encode_context` makes of turns, ids instead of texts."""
    context: list[int] = []
    for used, turn in enumerate(reversed(turns)):
        ids = [*turn, TURN]
        if used and len(context) + len(ids) > most:
            break
        context = ids[-most:] + context
    return context


def test_kept_tokens_move_to_the_left() -> None:
    tokens = torch.tensor([[3, 4, 5], [6, 7, 8]])
    keep = torch.tensor([[False, True, True], [False, False, True]])
    assert left_aligned(tokens, keep).tolist() == [[4, 5], [8, PAD]]
    assert left_aligned(tokens, torch.zeros_like(keep)).tolist() == [[PAD], [PAD]]


def test_a_turn_is_found_counting_from_the_last() -> None:
    context = padded([[3, 4, TURN, 5, TURN, 6, 7, TURN], [8, TURN]])
    assert rows(turn_back(context, 0)) == [[6, 7, TURN], [8, TURN]]
    assert rows(turn_back(context, 1)) == [[5, TURN], []]
    assert rows(turn_back(context, 2)) == [[3, 4, TURN], []]
    assert rows(turn_back(context, 3)) == [[], []]


def test_the_last_turn_is_left_out() -> None:
    context = padded([[3, 4, TURN, 5, TURN, 6, 7, TURN], [8, TURN]])
    assert rows(without_last(context)) == [[3, 4, TURN, 5, TURN], []]
    assert rows(without_last(without_last(context))) == [[3, 4, TURN], []]
    assert rows(add_turn(without_last(context), padded([[9, TURN], [9, TURN]]), 8)) == [
        [3, 4, TURN, 5, TURN, 9, TURN],
        [9, TURN],
    ]


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (9, [3, 4, TURN, 5, TURN, 6, 7, 8, TURN]),
        (8, [5, TURN, 6, 7, 8, TURN]),  # the oldest turn goes as a whole
        (6, [5, TURN, 6, 7, 8, TURN]),
        (5, [6, 7, 8, TURN]),
        (3, [7, 8, TURN]),  # too long by itself: its end is kept
    ],
)
def test_the_history_is_cut_to_whole_turns_oldest_first(most: int, expected: list[int]) -> None:
    context, turn = padded([[3, 4, TURN, 5, TURN], [3, TURN]]), padded([[6, 7, 8, TURN], [8, TURN]])
    assert rows(add_turn(context, turn, most)) == [expected, [3, TURN, 8, TURN][-most:] if most >= 4 else [8, TURN]]


def test_a_turn_without_an_end_gets_one_and_what_stands_behind_an_end_is_left_out() -> None:
    context = padded([[3, TURN], [3, TURN]])
    turns = torch.tensor([[4, 5, 6], [4, TURN, 7]])
    assert rows(add_turn(context, turns, 8)) == [[3, TURN, 4, 5, 6, TURN], [3, TURN, 4, TURN]]
    assert rows(alone(turns, 8)) == [[4, 5, 6, TURN], [4, TURN]]
    assert rows(alone(turns, 2)) == [[6, TURN], [4, TURN]]


@given(TURNS, TURNS, st.integers(1, 24))
def test_adding_turn_by_turn_gives_what_the_bot_would_have_read(
    one: list[list[int]], other: list[list[int]], most: int
) -> None:
    count = min(len(one), len(other))
    dialogues = [one[:count], other[:count]]
    context = torch.empty(2, 0, dtype=torch.long)
    for turn in range(count):
        context = add_turn(context, padded([[*dialogue[turn], TURN] for dialogue in dialogues]), most)
    assert rows(context) == [cut(dialogue, most) for dialogue in dialogues]


def test_a_pair_turned_round_asks_for_the_last_turn_of_the_context() -> None:
    batch = batch_of([([3, TURN, 4, 5], [6, 7]), ([8], [3])])
    turned = turned_round(batch, 8, 2)
    assert rows(turned.context) == [[6, 7, TURN], [3, TURN]]
    assert rows(turned.reply) == [[4, 5], [8, TURN]]  # cut at two tokens, as replies are


def test_turned_batches_go_through_the_same_pairs_the_other_way_round() -> None:
    batches = TurnedBatches(split_of(copy_task()), 4, DATA, 0, CPU)
    for _ in range(9):
        batch = batches.next()
        assert batch.context[:, [1, 0, 2]].tolist() == batch.reply.tolist()
    assert batches.epochs == 1
