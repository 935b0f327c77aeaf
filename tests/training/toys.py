"""Toy worlds whose right answers are known: corpora of ids, models of a few numbers, a judge that is told its opinion.

B contexts, K samples for each, T reply tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from chatbot.decoding import Decoding, Lanes, Sampled, plain_sampling, write_replies
from chatbot.discriminator import Discriminator
from chatbot.generator.interface import State
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import TrunkConfig
from chatbot.tokenizer import PAD, TURN
from training.batches import Batch, Batches
from training.config import AdversarialConfig, DataConfig, DiscriminatorConfig, MLEConfig
from training.corpus.dataset import Split
from training.objectives.cseqgan import ConditionalSeqGAN
from training.objectives.discrimination import Discrimination
from training.objectives.mle import MaximumLikelihood
from training.objectives.relaxed import Players
from training.rewards import draw_seeds

Architecture = Literal["recurrent", "transformer"]
ARCHITECTURES: tuple[Architecture, ...] = ("recurrent", "transformer")
CPU = torch.device("cpu")
REPLY_TOKENS = 5
DATA = DataConfig(context_tokens=8, reply_tokens=REPLY_TOKENS)
WORDS = range(3, 9)
VOCABULARY = 9

Pair = tuple[list[int], list[int]]


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Return the rows as one tensor of ids, PAD on the right."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows])


def split_of(pairs: Sequence[Pair]) -> Split:
    """Return a split with one dialogue of two turns for each pair (context, reply); TURN is added to both."""
    turns = [[*turn, TURN] for pair in pairs for turn in pair]
    starts = np.cumsum([0, *map(len, turns)])
    replies = np.arange(len(pairs)) * 2 + 1
    return Split(
        np.array([i for turn in turns for i in turn], np.uint16),
        starts.astype(np.int64),
        np.arange(0, 2 * len(pairs) + 1, 2, dtype=np.int64),
        np.stack([replies - 1, replies], axis=1).astype(np.int64),
    )


def batch_of(pairs: Sequence[Pair]) -> Batch:
    """Return the pairs as one batch."""
    return Batch(padded([[*c, TURN] for c, _ in pairs]), padded([[*r, TURN] for _, r in pairs]))


def copy_task() -> list[Pair]:
    """Return every context of two words; the reply is its last word, then its first."""
    return [([a, b], [b, a]) for a in WORDS for b in WORDS]


def trunk(architecture: Architecture, width: int = 16, dropout: float = 0.0) -> TrunkConfig:
    """Return the shape of a tiny model."""
    return TrunkConfig(architecture, width, 1, 1, 2, 2 * width, dropout)


def generator(
    architecture: Architecture = "recurrent",
    *,
    seed: int = 0,
    width: int = 16,
    dropout: float = 0.0,
    vocabulary: int = VOCABULARY,
    reply_tokens: int = REPLY_TOKENS,
) -> Seq2SeqGenerator:
    """Return a fresh tiny generator, the same one for the same seed."""
    torch.manual_seed(seed)
    return Seq2SeqGenerator(trunk(architecture, width, dropout), vocabulary, DATA.context_tokens, reply_tokens)


def discriminator(architecture: Architecture = "recurrent", *, seed: int = 1, width: int = 16) -> Discriminator:
    """Return a fresh tiny discriminator."""
    torch.manual_seed(seed)
    return Discriminator(trunk(architecture, width), VOCABULARY, DATA.context_tokens, REPLY_TOKENS)


@dataclass
class ContextState(State):
    """Remember the contexts themselves."""

    context: Tensor

    def select(self, lanes: Tensor) -> Self:
        """Return the contexts of `lanes`."""
        return type(self)(self.context[lanes])


class ToldJudge(nn.Module):
    """A discriminator that gives the logits [B, T] that `opinion` gives of contexts and replies."""

    def __init__(self, opinion: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.opinion = opinion
        self.unused = nn.Parameter(torch.zeros(1))  # optimizers want something to hold

    def encode(self, context: Tensor) -> ContextState:
        """Take the contexts as they are."""
        return ContextState(context)

    def forward(self, state: ContextState, reply: Tensor) -> Tensor:
        """Return the opinion."""
        return self.opinion(state.context, reply)


def true_copy_opinion(context: Tensor, reply: Tensor) -> Tensor:
    """Return logits that are 3 as long as the reply to the copy task is right, -3 from its first wrong token on."""
    right = torch.stack((context[:, 1], context[:, 0], torch.full_like(context[:, 0], TURN)), dim=1)
    agrees = torch.nn.functional.pad(right, (0, REPLY_TOKENS), value=PAD)[:, : reply.shape[1]] == reply
    return torch.where(agrees.long().cumprod(1) > 0, 3.0, -3.0)


def seqgan(
    learner: Seq2SeqGenerator,
    judge: nn.Module,
    pairs: Sequence[Pair],
    *,
    reference: Seq2SeqGenerator | None = None,
    judging: DiscriminatorConfig | None = None,
    seed: int = 0,
    **settings: object,
) -> ConditionalSeqGAN:
    """Put Conditional SeqGAN together on `pairs`; KL and teacher forcing are off unless `settings` say otherwise."""
    plain = {"contexts": 8, "samples": 4, "kl": 0.0, "teacher_forcing": 0.0, "teacher_forcing_end": 0.0}
    config = AdversarialConfig(**{**plain, **settings})
    rng = torch.Generator().manual_seed(seed)
    judging = judging or DiscriminatorConfig(batch=8)
    split = split_of(pairs)
    frozen = reference if reference is not None else twin(learner)
    discrimination = Discrimination(
        judge, learner, Batches(split, judging.batch, DATA, 1, CPU), batch_of(pairs), judging, "fp32", rng,
        one_prefix=config.credit == "regs",
    )  # fmt: skip
    batches = Batches(split, config.contexts, DATA, 2, CPU)
    return ConditionalSeqGAN(learner, frozen, discrimination, batches, config, "fp32", rng)


def twin(model: Seq2SeqGenerator) -> Seq2SeqGenerator:
    """Return a copy that shares nothing."""
    copy = Seq2SeqGenerator(model.trunk.config, model.vocabulary_size, model.context_tokens, model.reply_tokens)
    copy.load_state_dict(model.state_dict())
    return copy


def sampled(rows: Sequence[Sequence[int]]) -> Sampled:
    """Return replies as the sampler would have returned them."""
    tokens = padded(rows)
    return Sampled(tokens, (tokens != PAD).sum(1), (tokens == TURN).any(1))


@torch.no_grad()
def draw(model: Seq2SeqGenerator, context: Tensor, seed: int = 0) -> Sampled:
    """Draw one reply to each context [B, S] at temperature 1."""
    model.eval()
    seeds = draw_seeds(len(context), torch.Generator().manual_seed(seed), CPU)
    return write_replies(model, model.encode(context), plain_sampling(len(context), seeds, model.reply_tokens))


@torch.no_grad()
def greedy(model: Seq2SeqGenerator, context: Tensor) -> Sampled:
    """Return the likeliest reply, token by token."""
    model.eval()
    lanes = Lanes([Decoding(temperature=0)] * len(context), torch.zeros(len(context), dtype=torch.long), REPLY_TOKENS)
    return write_replies(model, model.encode(context), lanes)


def exact_share(model: Seq2SeqGenerator, pairs: Sequence[Pair], draws: int = 20) -> float:
    """Return the share of replies drawn at temperature 1 that are the right ones, over `draws` replies to each pair."""
    batch = batch_of([pair for pair in pairs for _ in range(draws)])
    return same(draw(model, batch.context).tokens, batch.reply)


def same(replies: Tensor, right: Tensor) -> float:
    """Return the share of rows that are equal, padding left out."""
    longest = max(replies.shape[1], right.shape[1])
    grow = [torch.nn.functional.pad(t, (0, longest - t.shape[1]), value=PAD) for t in (replies, right)]
    return float((grow[0] == grow[1]).all(1).float().mean())


class VectorJudge(nn.Module):
    """A discriminator of relaxed replies that gives the logits [B, T] that `opinion` gives of vectors [B, T, V]."""

    def __init__(self, opinion: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.opinion = opinion
        self.unused = nn.Parameter(torch.zeros(1))

    def encode(self, context: Tensor) -> ContextState:
        """Take the contexts as they are."""
        return ContextState(context)

    def judge_soft(self, state: ContextState, soft: Tensor) -> Tensor:
        """Return the opinion."""
        return self.opinion(soft)


def players(
    learner: Seq2SeqGenerator,
    judge: nn.Module,
    pairs: Sequence[Pair],
    *,
    judging: DiscriminatorConfig | None = None,
    **settings: object,
) -> Players:
    """Put generator and D together on `pairs`; teacher forcing is off unless `settings` say otherwise."""
    config = AdversarialConfig(**{"contexts": 8, "teacher_forcing": 0.0, "teacher_forcing_end": 0.0, **settings})
    batches = Batches(split_of(pairs), config.contexts, DATA, 2, CPU)
    return Players(learner, judge, batches, config, judging or DiscriminatorConfig(), "fp32")


def ambiguous_task() -> list[Pair]:
    """Return one context with every word as a reply, all equally often."""
    return [([3], [word]) for word in WORDS] * 8


def perfect_generator(architecture: Architecture = "recurrent") -> Seq2SeqGenerator:
    """Return a generator that has learnt `ambiguous_task`: its own replies are distributed like the human ones."""
    model = generator(architecture)
    batches = Batches(split_of(ambiguous_task()), 16, DATA, 1, CPU)
    learning = MaximumLikelihood(model, batches, MLEConfig(learning_rate=1e-2, warmup=0), "fp32")
    for i in range(150):
        learning.step(i / 150)
    return model
