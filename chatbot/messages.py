"""What an engine and those who use it say to each other. Plain data, known without torch; sent over pipes to processes
that we started ourselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from chatbot.request import Answer, Decoding, ReplyRequest, TokenLogprob


class ReplyLimits(Protocol):
    """How much a model can read and write."""

    @property
    def context_tokens(self) -> int:
        """Tokens of the history that fit."""

    @property
    def reply_tokens(self) -> int:
        """Tokens of the longest reply."""


@dataclass(frozen=True)
class ModelLimits:
    """How much a model can read and write, in tokens."""

    context_tokens: int
    reply_tokens: int


@dataclass(frozen=True)
class ModelCard:
    """What is known of a loaded model without asking it."""

    name: str
    digest: str
    """SHA-256 of weights and tokenizer."""
    card: str
    limits: ReplyLimits
    has_discriminator: bool
    device: str
    precision: str = "fp32"
    """How it computes: the same seed gives the same reply where digest and precision are the same."""
    decoding: Decoding = field(default_factory=Decoding)
    """How replies are drawn where a request does not say."""


# To an engine


@dataclass(frozen=True)
class Begin:
    """Write the replies to a request; with `stream` their text is told as it comes."""

    key: int
    model: str
    request: ReplyRequest
    stream: bool = False


@dataclass(frozen=True)
class Cancel:
    """Nobody waits for the replies to this request any more."""

    key: int


@dataclass(frozen=True)
class Reload:
    """Load the bundles of this directory; those whose files are unchanged stay as they are."""

    models: Path


@dataclass(frozen=True)
class Stop:
    """End now."""


Order = Begin | Cancel | Reload | Stop


# From an engine


@dataclass(frozen=True)
class Delta:
    """How a reply of a streamed request goes on."""

    key: int
    choice: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class Ended:
    """All replies to a request are there."""

    key: int
    answer: Answer
    model: ModelCard | None = None
    """Which weights wrote them: a model may be loaded anew while a request waits."""


@dataclass(frozen=True)
class Failed:
    """A request came to nothing: it was `refused`, it is the client's to change it, or the model is `broken`."""

    key: int
    kind: Literal["refused", "broken", "unknown_model"]
    message: str
    param: str | None = None


@dataclass(frozen=True)
class Loaded:
    """Which models are loaded now, and why others of the directory are not; `fault`: none could be."""

    models: tuple[ModelCard, ...]
    broken: Mapping[str, str] = field(default_factory=dict)
    fault: str | None = None


Event = Delta | Ended | Failed | Loaded


@dataclass(frozen=True)
class Logged:
    """A line for the log, which the one who started the engine keeps."""

    level: int
    logger: str
    text: str
    exception: str | None = None
    """The report of a fault, of several lines."""
