"""Models small enough to be exact about: real ones of both architectures, and a generator that is a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from chatbot.bundle import Bundle, Limits
from chatbot.discriminator import Discriminator
from chatbot.generator.interface import Generator, Part, State
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import Architecture, TrunkConfig
from chatbot.tokenizer import PAD, Tokenizer

ARCHITECTURES: tuple[Architecture, ...] = ("recurrent", "transformer")
VOCABULARY = 40
CONTEXT_TOKENS = 24
REPLY_TOKENS = 10

TEXTS = (
    "hello, how are you?",
    "I am fine, thank you. How are you?",
    "do you like music? yes, I like music very much",
    "你好，你好吗？我很好，谢谢你。",
    "what do you like to eat? 😀 I like to eat apples",
)


def shape(architecture: Architecture, layers: int = 2) -> TrunkConfig:
    """Return a shape of width 16."""
    return TrunkConfig(architecture, 16, encoder_layers=layers, decoder_layers=layers, heads=2, feedforward=24)


def generator(architecture: Architecture, seed: int = 0, vocabulary: int = VOCABULARY) -> Seq2SeqGenerator:
    """Return an untrained generator in evaluation mode, its weights drawn from `seed`."""
    torch.manual_seed(seed)
    model = Seq2SeqGenerator(shape(architecture), vocabulary, CONTEXT_TOKENS, REPLY_TOKENS).eval()
    torch.nn.init.normal_(model.bias)
    return model


def discriminator(architecture: Architecture, seed: int = 0, vocabulary: int = VOCABULARY) -> Discriminator:
    """Return an untrained discriminator in evaluation mode, its weights drawn from `seed`."""
    torch.manual_seed(seed)
    return Discriminator(shape(architecture), vocabulary, CONTEXT_TOKENS, REPLY_TOKENS).eval()


def bundle(architecture: Architecture, tokenizer: Tokenizer, judged: bool = True, seed: int = 0) -> Bundle:
    """Return a bundle of untrained models."""
    size = tokenizer.vocabulary_size
    return Bundle(
        generator(architecture, seed, size),
        discriminator(architecture, seed, size) if judged else None,
        tokenizer,
        Limits(CONTEXT_TOKENS, REPLY_TOKENS),
        card="# Tiny\n",
        info={"step": 3},
    )


def padded(rows: Sequence[Sequence[int]], width: int = 0) -> Tensor:
    """Return rows of ids as one tensor, PAD on the right, at least `width` wide."""
    width = max(width, *(len(row) for row in rows))
    return torch.tensor([[*row, *[PAD] * (width - len(row))] for row in rows])


@dataclass
class TableState(State):
    """Which row of the table each lane reads."""

    contexts: Tensor

    def select(self, lanes: Tensor) -> Self:
        """Return the state of `lanes`, in that order."""
        return type(self)(self.contexts[lanes])

    def parts(self) -> list[Part]:
        """Return the rows."""
        return [Part(self.contexts)]

    def with_parts(self, tensors: list[Tensor]) -> Self:
        """Return the state of these rows."""
        return type(self)(tensors[0])


class TableGenerator(Generator):
    """Know the next token's logits from the context's first id and the last token alone: table [C, V, V].

    Nothing is computed, so nothing is rounded: what differs between two runs differs because of the decoding.
    """

    def __init__(self, table: Tensor, reply_tokens: int) -> None:
        super().__init__()
        self.table = table
        self.vocabulary_size = table.shape[2]
        self.reply_tokens = reply_tokens

    def encode(self, context: Tensor) -> TableState:
        """Read contexts [B, S] and return B lanes."""
        return TableState(context[:, 0])

    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, TableState]:
        """Return the table's logits after `tokens` [B]."""
        assert isinstance(state, TableState)
        return self.table[state.contexts, tokens], state

    def hidden(self, state: State, reply: Tensor) -> Tensor:
        """Refuse: nothing here is learnt."""
        raise NotImplementedError

    def project(self, hidden: Tensor) -> Tensor:
        """Refuse: nothing here is learnt."""
        raise NotImplementedError


def table_generator(contexts: int = 4, vocabulary: int = 12, reply_tokens: int = REPLY_TOKENS) -> TableGenerator:
    """Return a generator whose table is drawn from a fixed seed, with an end token that is not too likely."""
    rng = torch.Generator().manual_seed(5)
    table = torch.randn(contexts, vocabulary, vocabulary, generator=rng)
    table[:, :, 2] -= 1.0
    return TableGenerator(table, reply_tokens)


def assert_follows(drawn: Tensor, probabilities: Tensor) -> None:
    """Assert that `drawn` [N] looks drawn from `probabilities` [V] by a chi-square test at 1 in 30,000."""
    counts = torch.bincount(drawn, minlength=len(probabilities)).double()
    expected = probabilities.double() * len(drawn)
    assert counts[expected == 0].sum() == 0, f"drew what is never drawn: {counts.tolist()}"
    # Chi-square knows nothing of cells that hardly ever come up: they are counted with the rarest of the others.
    order = expected.argsort(descending=True)
    counts, expected = counts[order], expected[order]
    cells = max(int((expected >= 5).sum()), 1)
    counts = torch.cat((counts[: cells - 1], counts[cells - 1 :].sum()[None]))
    expected = torch.cat((expected[: cells - 1], expected[cells - 1 :].sum()[None]))
    statistic = ((counts - expected) ** 2 / expected).sum().item()
    freedom = cells - 1
    if freedom:
        spread = 2 / (9 * freedom)  # Wilson and Hilferty 1931: the cube root of chi-square is nearly normal
        most = freedom * (1 - spread + 4 * math.sqrt(spread)) ** 3
        assert statistic <= most, f"{statistic} over {most}: {counts.tolist()} against {expected.tolist()}"
