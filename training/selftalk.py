"""Two bots, the same policy, talk to each other from a real context on: what was said, and where it became dull.

Li et al. 2016, "Deep Reinforcement Learning for Dialogue Generation": a simulated dialogue ends with a turn that is a
stock reply, or that nearly repeats what its speaker said before. Knows no reward and no text.

D dialogues, N turns spoken in all of them together, S context tokens, T tokens of a turn.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from chatbot.decoding import plain_sampling, write_replies
from chatbot.generator.interface import Generator
from chatbot.tokenizer import PAD, TURN
from training.losses import reply_mask
from training.objectives.discrimination import pad_together
from training.turns import add_turn, turn_back

REPEATING = 0.8
"""A turn that shares more than this of its tokens with an earlier one repeats it."""

Dullness = Callable[[Tensor], Tensor]
"""Say of turns [N, T] which are stock replies, [N] bool."""


@dataclass(frozen=True)
class SelfTalk:
    """The turns of simulated dialogues, those spoken first before those spoken second and so on."""

    context: Tensor
    """[N, S]: what each turn answers."""
    tokens: Tensor
    """[N, T]: the turn itself, as it was drawn."""
    finished: Tensor
    """[N] bool: it ended by itself."""
    after: Tensor
    """[N, S]: the context with the turn in it, which is what the other one answers."""
    previous: Tensor
    """[N, T]: the turn before by the same speaker; nothing but PAD where there is none in sight."""
    dialogue: Tensor
    """[N]: the dialogue, below D."""
    turn: Tensor
    """[N]: the place among the simulated turns, from 0."""
    dull: Tensor
    """[N] bool"""
    repeating: Tensor
    """[N] bool"""
    dialogues: int
    """D"""
    turns: int
    """The most turns that a dialogue was given."""

    @property
    def mask(self) -> Tensor:
        """Return [N, T], true at the tokens that the policy wrote."""
        return reply_mask(self.tokens)

    @property
    def spoken(self) -> Tensor:
        """Return how many turns each dialogue has, [D]: the one that ended it is counted."""
        return torch.bincount(self.dialogue, minlength=self.dialogues)

    @property
    def lengths(self) -> Tensor:
        """Return how many turns each dialogue went on, [D], before one was dull or repeated another."""
        return torch.bincount(self.dialogue[~(self.dull | self.repeating)], minlength=self.dialogues)


@torch.no_grad()
def self_talk(generator: Generator, context: Tensor, seeds: Tensor, context_tokens: int, is_dull: Dullness) -> SelfTalk:
    """Let the policy answer contexts [D, S], then its own answers, until turns are dull, repeat, or `seeds` end.

    `seeds` [D, turns]: each turn of each dialogue has a random stream of its own, so what is said in one dialogue never
    depends on another. Follows the model's training mode as it is: who samples calls `eval()` first.
    """
    count, turns = seeds.shape
    dialogue = torch.arange(count, device=context.device)
    parts: list[tuple[Tensor, ...]] = []
    for turn in range(turns):
        lanes = plain_sampling(len(context), seeds[dialogue, turn], generator.reply_tokens)
        sampled = write_replies(generator, generator.encode(context), lanes)
        after = add_turn(context, sampled.tokens, context_tokens)
        dull = is_dull(sampled.tokens)
        repeating = repeats(context, sampled.tokens)
        place = torch.full_like(dialogue, turn)
        previous = turn_back(context, 1)
        parts.append((context, sampled.tokens, sampled.finished, after, previous, dialogue, place, dull, repeating))
        goes_on = (~(dull | repeating)).nonzero().squeeze(1)
        if not len(goes_on):
            break
        context, dialogue = after[goes_on], dialogue[goes_on]
    columns = zip(*parts, strict=True)
    context, tokens, finished, after, previous, dialogue, place, dull, repeating = (
        pad_together(list(c)) if c[0].dim() == 2 else torch.cat(c) for c in columns
    )
    return SelfTalk(
        context, tokens, finished, after, previous, dialogue, place, dull, repeating, dialogues=count, turns=turns
    )


def repeats(context: Tensor, turn: Tensor) -> Tensor:
    """Return which turns [N, T] nearly repeat what their speaker said before, as far as contexts [N, S] go back: [N].

    The last turn of a context is the other one's, the one before is the speaker's own, and so on by turns.
    """
    found = torch.zeros(len(turn), dtype=torch.bool, device=turn.device)
    for back in range(1, int((context == TURN).sum(1).max()), 2):
        found |= overlap(turn, turn_back(context, back)) > REPEATING
    return found


def overlap(one: Tensor, other: Tensor) -> Tensor:
    """Return the share of tokens that turns [N, T] have in common, as a share of the longer one's: [N], 0 to 1.

    A token that stands twice must stand twice in both. The end token is none; an empty turn has nothing in common.
    """
    one, other = (torch.where(reply_mask(t) & (t != TURN), t, PAD) for t in (one, other))
    nth = (one[:, :, None] == one[:, None, :]).tril().sum(2)  # this is the n-th time that the token stands here
    found = (one[:, :, None] == other[:, None, :]).sum(2)
    common = ((one != PAD) & (nth <= found)).sum(1)
    longer = torch.maximum((one != PAD).sum(1), (other != PAD).sum(1))
    return common / longer.clamp(min=1)


def by_dialogue(talk: SelfTalk, values: Tensor) -> Tensor:
    """Return values [N] of turns as [D, turns], 0 where nothing was said."""
    table = values.new_zeros(talk.dialogues, talk.turns)
    table[talk.dialogue, talk.turn] = values
    return table


def returns(talk: SelfTalk, rewards: Tensor, discount: float) -> Tensor:
    """Return what each turn is worth, [N]: its reward and, discounted, those of the turns that follow in its dialogue.

    After its end a dialogue goes on earning what its last turn earned, to the number of turns that it was given. With
    the plain sum, parts of the reward that are always negative (log-probabilities) would make a dull turn, which ends
    the dialogue, the best move, and parts that are always positive would pay for length alone.
    """
    table = by_dialogue(talk, rewards)
    spoken = talk.spoken[:, None]
    last = table.gather(1, spoken - 1)
    place = torch.arange(talk.turns, device=table.device)
    table = torch.where(place < spoken, table, last)
    total = torch.zeros_like(table)
    running = torch.zeros_like(table[:, 0])
    for turn in range(talk.turns - 1, -1, -1):
        running = table[:, turn] + discount * running
        total[:, turn] = running
    return total[talk.dialogue, talk.turn]
