"""What a simulated turn is worth to a judge that never learns: equations 1 to 3 of Li et al. 2016, "Deep Reinforcement
Learning for Dialogue Generation", mutual information with the last turn, and a discriminator that was trained
beforehand.

Pure functions of frozen models and tensors; each turn is judged by itself. N turns, S context tokens, T tokens of a
turn, D width.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from chatbot.bundle import AnyGenerator
from chatbot.discriminator import PairDiscriminator, final_logits
from chatbot.generator.interface import Generator, State
from chatbot.generator.pretrained import PretrainedGenerator
from chatbot.tokenizer import PAD, TURN
from training.config import JudgedConfig
from training.losses import reply_mask, token_log_probabilities
from training.rewards import sequence_reward
from training.selftalk import SelfTalk
from training.teacher import Teacher
from training.turns import add_turn, alone, turn_back, without_last

SMALLEST_COSINE = 0.05
"""Turns that have less than this in common flow no better than turns that have this; the logarithm ends at 3."""
ANYWAY = 0.8
"""How much of what would be expected anyway is taken off: the whole of it pays for turns that are expected nowhere."""
BACKGROUND = 4
"""Dull replies that stand for what else might have been said; each costs as much as scoring the turn itself."""
_ROWS = 256  # turns that a model looks at together: logits over the vocabulary are large


def ease_of_answering(reference: Generator, after: Tensor, dull: list[Tensor]) -> Tensor:
    """Return how hard it is to answer dully, [N]: the mean over dull replies s [T] of -log P(s | after) / |s|.

    `after` [N, S] is the context with the judged turn in it. Never negative; the more, the less the frozen model
    expects a dull reply (equation 1).
    """
    surprise = []
    for rows in torch.split(after, _ROWS):
        state = reference.encode(rows)
        replies = [reply.to(after.device).expand(len(rows), -1) for reply in dull]
        surprise.append(-torch.stack([_mean_log_probability(reference, state, r) for r in replies]).mean(0))
    return torch.cat(surprise)


def information_flow(represent: Callable[[Tensor], Tensor], turn: Tensor, previous: Tensor) -> Tensor:
    """Return -log cos of the representations of a turn [N, T] and its speaker's turn before, [N] (equation 2).

    0 where both say the same, more where something new is said. The logarithm knows no cosine below zero, so it is
    taken of at least `SMALLEST_COSINE`. Without a turn before (nothing but PAD) there is no flow: 0.
    """
    cosine = cosine_similarity(represent(turn), represent(previous), dim=1)
    return -cosine.clamp(SMALLEST_COSINE, 1.0).log() * (previous != PAD).any(1)


def coherence(reference: Generator, backward: AnyGenerator, context: Tensor, turn: Tensor) -> Tensor:
    """Return log P(turn | context) / |turn| + log P_backward(last turn of the context | turn) / its length, [N].

    Never positive; the second term punishes what would fit every context (equation 3).
    """
    answered = turn_back(context, 0)[:, : backward.reply_tokens]
    forwards = mean_log_probability(reference, context, turn)
    return forwards + mean_log_probability(backward, alone(turn, backward.context_tokens), answered)


def mutual_information(reference: AnyGenerator, context: Tensor, turn: Tensor, dull: list[Tensor]) -> Tensor:
    """Return how much more a turn [N, T] is expected after the last turn of its context [N, S] than after a dull one.

    (log P(turn | context) - 0.8 log mean over s of P(turn | context with dull reply s [T] as its last turn)) / |turn|,
    [N], in nats: the objective of Li et al. 2016, "A Diversity-Promoting Objective Function", with one model for both
    terms, where the rest of the context stays. The whole of it also pays for repeating older turns.
    """
    earlier = without_last(context)
    own = mean_log_probability(reference, context, turn)
    length = reply_mask(turn).sum(1).clamp(min=1)
    most = reference.context_tokens
    others = [add_turn(earlier, reply.to(turn.device).expand(len(turn), -1), most) for reply in dull]
    anyway = torch.stack([mean_log_probability(reference, other, turn) * length for other in others])
    return own - ANYWAY * (anyway.logsumexp(0) - math.log(len(others))) / length


def human_likeness(
    discriminator: PairDiscriminator, context: Tensor, turn: Tensor, finished: Tensor, clip: float
) -> Tensor:
    """Return the frozen D's reward of each turn, [N]: see `sequence_reward`."""
    logits = [
        final_logits(discriminator(discriminator.encode(c), t), t)
        for c, t in zip(torch.split(context, _ROWS), torch.split(turn, _ROWS), strict=True)
    ]
    return sequence_reward(torch.cat(logits), finished, clip)


def mean_log_probability(model: Generator, context: Tensor, reply: Tensor) -> Tensor:
    """Return log P(reply | context) in nats per token, [N]."""
    values = [
        _mean_log_probability(model, model.encode(c), r)
        for c, r in zip(torch.split(context, _ROWS), torch.split(reply, _ROWS), strict=True)
    ]
    return torch.cat(values)


def _mean_log_probability(model: Generator, state: State, reply: Tensor) -> Tensor:
    return token_log_probabilities(model, state, reply).sum(1) / reply_mask(reply).sum(1).clamp(min=1)


def representation(model: AnyGenerator, turn: Tensor) -> Tensor:
    """Return the mean of the encoder's states over the tokens of each turn [N, T], read alone: [N, D].

    A language model reads the turn as what it says itself after silence: its prompt would be mostly what stands around
    a turn, the same for all.
    """
    if isinstance(model, PretrainedGenerator):
        silence = turn.new_full((len(turn), 1), TURN)
        said = reply_mask(turn)[..., None]
        return (model.hidden(model.encode(silence), turn).float() * said).sum(1) / said.sum(1).clamp(min=1)
    context = alone(turn, model.context_tokens)
    mask = (context != PAD)[..., None]
    return (model.trunk.read_context(context).float() * mask).sum(1) / mask.sum(1)


class Judge:
    """Hold the frozen models and ask each part for its opinion."""

    def __init__(
        self,
        reference: AnyGenerator,
        backward: AnyGenerator | None,
        discriminator: PairDiscriminator,
        dull: list[Tensor],
        config: JudgedConfig,
        clip: float,
        teacher: Teacher | None = None,
    ) -> None:
        """`backward` may be missing when coherence has no weight, `teacher` when likelihood has none.

        The models are frozen here and now.
        """
        self.reference = reference.eval().requires_grad_(False)
        self.backward = None if backward is None else backward.eval().requires_grad_(False)
        self.discriminator = discriminator.eval().requires_grad_(False)
        self.dull = dull
        self.weights = {
            "ease": config.ease,
            "flow": config.flow,
            "coherence": config.coherence,
            "mutual": config.mutual,
            "likelihood": config.likelihood,
            "discriminator": config.discriminator,
        }
        self.clip = clip
        self.teacher = teacher

    @torch.no_grad()
    def judge(self, talk: SelfTalk) -> dict[str, Tensor]:
        """Return the reward [N] of every turn by each part that has a weight, in their own units."""
        parts: dict[str, Tensor] = {}
        if self.weights["ease"]:
            parts["ease"] = ease_of_answering(self.reference, talk.after, self.dull)
        if self.weights["flow"]:
            parts["flow"] = information_flow(partial(representation, self.reference), talk.tokens, talk.previous)
        if self.weights["coherence"]:
            if self.backward is None:
                raise ValueError("coherence has a weight, but there is no backward model")
            parts["coherence"] = coherence(self.reference, self.backward, talk.context, talk.tokens)
        if self.weights["mutual"]:
            parts["mutual"] = mutual_information(self.reference, talk.context, talk.tokens, self.dull[:BACKGROUND])
        if self.weights["likelihood"]:
            if self.teacher is None:
                raise ValueError("likelihood has a weight, but there is no teacher")
            parts["likelihood"] = self.teacher.likelihood(talk.context, talk.tokens)
        if self.weights["discriminator"]:
            self.discriminator.eval()
            parts["discriminator"] = human_likeness(
                self.discriminator, talk.context, talk.tokens, talk.finished, self.clip
            )
        return parts
