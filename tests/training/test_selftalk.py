"""Two bots talk: where a dialogue ends, what each turn answers and what it is worth."""

import math

import pytest
import torch
from torch import Tensor

from chatbot.generator.interface import State
from chatbot.tokenizer import PAD, TURN
from tests.training.test_turns import rows
from tests.training.toys import ARCHITECTURES, VOCABULARY, Architecture, ContextState, generator, padded
from training.rewards import draw_seeds
from training.selftalk import SelfTalk, by_dialogue, overlap, repeats, returns, self_talk

SEEDS = torch.arange(12).view(3, 4)


def never(turns: Tensor) -> Tensor:
    return torch.zeros(len(turns), dtype=torch.bool)


class Parrot(torch.nn.Module):
    """A generator that says one word: the last word of the context plus `by`, from 8 on to 3."""

    reply_tokens = 5

    def __init__(self, by: int) -> None:
        super().__init__()
        self.by = by

    def encode(self, context: Tensor) -> State:
        last = (context != PAD).sum(1, keepdim=True) - 2
        return ContextState(torch.cat((context.gather(1, last), torch.zeros_like(last)), 1))

    def step(self, state: ContextState, tokens: Tensor) -> tuple[Tensor, State]:
        word = (state.context[:, 0] - 3 + self.by) % (VOCABULARY - 3) + 3
        said = torch.where(state.context[:, 1] > 0, TURN, word)
        logits = torch.full((len(said), VOCABULARY), -math.inf).scatter(1, said[:, None], 0.0)
        return logits, ContextState(torch.stack((state.context[:, 0], state.context[:, 1] + 1), 1))


def test_every_turn_answers_all_that_was_said_before() -> None:
    context = padded([[3, TURN], [4, 4, TURN, 6, TURN]])
    talk = self_talk(Parrot(1), context, SEEDS[:2, :3], 6, never)  # type: ignore[arg-type] # looks like a Generator
    assert talk.dialogue.tolist() == [0, 1, 0, 1, 0, 1]
    assert talk.turn.tolist() == [0, 0, 1, 1, 2, 2]
    assert rows(talk.tokens) == [[4, TURN], [7, TURN], [5, TURN], [8, TURN], [6, TURN], [3, TURN]]
    assert talk.finished.all()
    assert rows(talk.context)[::2] == [[3, TURN], [3, TURN, 4, TURN], [3, TURN, 4, TURN, 5, TURN]]
    # Six tokens and no more: the first turn of the second dialogue is forgotten, then its second.
    assert rows(talk.context)[1::2] == [
        [4, 4, TURN, 6, TURN], [6, TURN, 7, TURN], [6, TURN, 7, TURN, 8, TURN],
    ]  # fmt: skip
    assert rows(talk.after)[4:] == [[4, TURN, 5, TURN, 6, TURN], [7, TURN, 8, TURN, 3, TURN]]
    assert rows(talk.previous) == [[], [4, 4, TURN], [3, TURN], [6, TURN], [4, TURN], [7, TURN]]
    assert talk.spoken.tolist() == talk.lengths.tolist() == [3, 3]
    assert torch.equal(talk.mask, talk.tokens != PAD)


def test_a_dialogue_ends_with_its_first_dull_turn_and_the_others_go_on() -> None:
    def is_dull(turns: Tensor) -> Tensor:
        return turns[:, 0] == 6

    context = padded([[3, TURN], [5, TURN], [8, TURN]])
    talk = self_talk(Parrot(1), context, SEEDS, 8, is_dull)  # type: ignore[arg-type] # looks like a Generator
    assert talk.spoken.tolist() == [3, 1, 4]
    assert talk.lengths.tolist() == [2, 0, 3]  # the last one's fourth turn is dull, too, and there is no fifth
    assert talk.dialogue.tolist() == [0, 1, 2, 0, 2, 0, 2, 2]
    assert talk.dull.tolist() == [False, True, False, False, False, True, False, True]
    assert not talk.repeating.any()


def test_a_dialogue_ends_when_a_speaker_repeats_an_earlier_turn_of_its_own() -> None:
    # By three from 3: 6, then 3 again, which its speaker said at the start; from 4 it never gets that far.
    talk = self_talk(Parrot(3), padded([[3, TURN], [3, TURN, 6, 7, 7, 7, TURN]]), SEEDS[:2], 12, never)  # type: ignore[arg-type] # the same
    assert rows(talk.tokens)[::2][:2] == [[6, TURN], [3, TURN]]
    assert talk.spoken.tolist() == [2, 3]
    assert talk.lengths.tolist() == [1, 2]
    assert talk.repeating.tolist() == [False, False, True, False, True]
    assert rows(talk.tokens)[-1] == [4, TURN]


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ([3, 4, 5, TURN], [3, 4, 5, TURN], 1.0),
        ([3, 4, 5, TURN], [5, 4, 3], 1.0),  # the order is not looked at, nor the end token
        ([3, 4, 5, 6, TURN], [3, 4, 5, 7, 8, TURN], 3 / 5),
        ([3, 3, 3, TURN], [3, 4, 5, TURN], 1 / 3),  # one 3 against three of them
        ([3, TURN], [3, 4, 5, 6, TURN], 1 / 4),
        ([3, TURN], [4, TURN], 0.0),
        ([TURN], [TURN], 0.0),
        ([3, TURN], [], 0.0),
        ([3, TURN, 4, 5], [3, TURN, 7], 1.0),  # nothing behind the end counts
    ],
)
def test_overlap_is_the_share_of_the_longer_turns_tokens(one: list[int], other: list[int], share: float) -> None:
    for left, right in ((one, other), (other, one)):
        found = overlap(padded([left, [3, 4, 5, 6, 7, 8]]), padded([right, [8, 8]]))
        assert found.tolist() == pytest.approx([share, 1 / 6])


def test_more_than_eighty_percent_in_common_with_ones_own_earlier_turns_is_a_repetition() -> None:
    own, others = [3, 4, 5, 6, 7], [8, 8, 3, 3, 4]
    context = padded([[*own, TURN, *others, TURN]] * 4 + [[*own, TURN, 8, TURN, 3, TURN, *others, TURN]])
    turns = padded([
        [*own, TURN],
        [3, 4, 5, 6, 8, TURN],  # exactly four fifths
        [*others, TURN],  # the other one said that
        [3, 4, 5, 6, 7, 8, TURN],  # 5 of 6
        [*own, TURN],  # three turns back, and again the speaker's own
    ])  # fmt: skip
    assert repeats(context, turns).tolist() == [True, False, False, True, True]
    assert repeats(padded([[3, TURN]]), padded([[3, TURN]])).tolist() == [False]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_said_in_one_dialogue_depends_on_no_other(architecture: Architecture) -> None:
    model = generator(architecture).eval()
    context = padded([[3, TURN], [5, 6, TURN, 7, TURN], [8, 3, TURN]])
    seeds = draw_seeds(12, torch.Generator().manual_seed(1), torch.device("cpu")).view(3, 4)
    together = self_talk(model, context, seeds, 8, lambda turns: turns[:, 0] == 5)
    for i in range(3):
        talk = self_talk(model, context[i : i + 1], seeds[i : i + 1], 8, lambda turns: turns[:, 0] == 5)
        own = together.dialogue == i
        assert rows(talk.tokens) == rows(together.tokens[own])
        assert rows(talk.context) == rows(together.context[own])
        assert talk.spoken[0] == together.spoken[i]
    assert (together.tokens[together.turn == 1] != PAD).any()


def talk_of(spoken: list[int], turns: int) -> SelfTalk:
    """Return dialogues of so many turns, with nothing in them."""
    order = [(turn, dialogue) for turn in range(turns) for dialogue, said in enumerate(spoken) if turn < said]
    nothing, no = torch.zeros(len(order), 1, dtype=torch.long), torch.zeros(len(order), dtype=torch.bool)
    turn, dialogue = torch.tensor(order).T
    return SelfTalk(nothing, nothing, ~no, nothing, nothing, dialogue, turn, no, no, len(spoken), turns)


def test_a_turn_is_worth_its_own_reward_and_discounted_those_that_follow() -> None:
    talk = talk_of([3, 1], 3)
    rewards = torch.tensor([1.0, 5.0, 2.0, 4.0])  # 1, 2, 4 in the first dialogue, 5 in the second
    found = by_dialogue(talk, returns(talk, rewards, 0.5))
    # 1 + 2/2 + 4/4, 2 + 4/2, 4; the second goes on earning 5: 5 + 5/2 + 5/4
    assert found.tolist() == [[3.0, 4.0, 4.0], [8.75, 0.0, 0.0]]
    assert by_dialogue(talk, rewards).tolist() == [[1.0, 2.0, 4.0], [5.0, 0.0, 0.0]]


@pytest.mark.parametrize("reward", [-2.0, 3.0])
def test_with_the_same_reward_everywhere_neither_ending_nor_going_on_pays(reward: float) -> None:
    talk = talk_of([4, 1, 2], 4)
    found = by_dialogue(talk, returns(talk, torch.full((7,), reward), 0.9))
    assert found[0, 0] == found[1, 0] == found[2, 0]
    assert found[0, 1] == found[2, 1]


def test_returns_of_one_dialogue_do_not_depend_on_another() -> None:
    talk = talk_of([3, 2], 3)
    rewards = torch.arange(5.0)
    changed = torch.where(talk.dialogue == 1, -7.0, rewards)
    own = talk.dialogue == 0
    assert torch.equal(returns(talk, rewards, 0.9)[own], returns(talk, changed, 0.9)[own])
