"""What can be asked of a chatbot, and what it answers: plain data, known without torch.

The service's HTTP process speaks of these and never computes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from chatbot.errors import RequestError

SEED_LIMIT: Final = 2**63
MOST_STOPS: Final = 4
MOST_LOGPROBS: Final = 20


@dataclass(frozen=True)
class Decoding:
    """Say how a reply is drawn. Raises RequestError when a value is out of its range."""

    temperature: float = 0.7
    """0 takes the likeliest token."""
    top_k: int = 0
    """Draw among the k likeliest tokens; 0 is off."""
    top_p: float = 1.0
    """Draw from the nucleus: the likeliest tokens that together reach this probability (Holtzman et al. 2020)."""
    repetition_penalty: float = 1.0
    """Divide (or multiply, below zero) the logits of tokens already in the reply (Keskar et al. 2019)."""
    no_repeat_ngram: int = 0
    """Never write an n-gram of this size twice; 0 is off."""
    min_tokens: int = 1
    """The end token is not drawn before this many others."""
    max_tokens: int | None = None
    """Cut the reply here, end token counted; None is the bundle's limit."""

    def __post_init__(self) -> None:
        _expect("temperature", self.temperature, 0, 2)
        _expect_whole("top_k", self.top_k, 0, 1_000_000)
        if not 0 < self.top_p <= 1:
            raise RequestError(f"top_p is {self.top_p}, expected above 0 and at most 1", "top_p")
        _expect("repetition_penalty", self.repetition_penalty, 0.1, 10)
        _expect_whole("no_repeat_ngram", self.no_repeat_ngram, 0, 100)
        _expect_whole("min_tokens", self.min_tokens, 0, 1_000_000)
        if self.max_tokens is not None:
            _expect_whole("max_tokens", self.max_tokens, 1, 1_000_000)


def _expect(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:  # nan is neither
        raise RequestError(f"{name} is {value}, expected {least} to {most}", name)


def _expect_whole(name: str, value: int, least: int, most: int) -> None:
    _expect(name, value, least, most)
    if value != int(value):
        raise RequestError(f"{name} is {value}, expected a whole number", name)


@dataclass(frozen=True)
class ReplyRequest:
    """Ask for replies to one history."""

    turns: Sequence[str]
    """Oldest first; speakers alternate; the last one is to be answered."""
    decoding: Decoding = field(default_factory=Decoding)
    seed: int = 0
    n: int = 1
    best_of: int | None = None
    """Candidates drawn, of which the n best by the discriminator are returned, best first; None draws n, unranked."""
    stop: tuple[str, ...] = ()
    """A reply ends before the first of these."""
    logprobs: int | None = None
    """Also tell the log-probability of each token, and of so many of the likeliest; None tells none."""

    @property
    def candidates(self) -> int:
        """Return how many replies are drawn."""
        return max(self.n, self.best_of or 0)


@dataclass(frozen=True)
class TokenLogprob:
    """A token's bytes and its log-probability under the model itself: at temperature 1, nothing cut or penalised."""

    token: bytes
    logprob: float
    likeliest: tuple[tuple[bytes, float], ...] = ()


@dataclass(frozen=True)
class Reply:
    """One reply, with `tokens` generated (end token counted)."""

    text: str
    finish_reason: str
    """`stop`: it ended by itself or at a stop; `length`: it was cut at the limit."""
    tokens: int
    score: float | None
    """The discriminator's probability that a human wrote it; None without a discriminator."""
    logprobs: tuple[TokenLogprob, ...] | None = None
    """Of the tokens of its text, the end token left out; None when not asked for."""


@dataclass(frozen=True)
class Answer:
    """The replies to one request, and how much of the history they saw."""

    replies: tuple[Reply, ...]
    context_tokens: int
    turns_used: int


def with_limit(decoding: Decoding, longest: int) -> Decoding:
    """Return `decoding` with its length limit made explicit.

    Raises RequestError when it asks for more than `longest` tokens, or for at least more than at most.
    """
    if decoding.max_tokens is not None and decoding.max_tokens > longest:
        raise RequestError(f"max_tokens is {decoding.max_tokens}, this model writes at most {longest}", "max_tokens")
    limit = decoding.max_tokens or longest
    if decoding.min_tokens > limit:
        raise RequestError(f"min_tokens is {decoding.min_tokens}, expected at most max_tokens, {limit}", "min_tokens")
    return replace(decoding, max_tokens=limit)
