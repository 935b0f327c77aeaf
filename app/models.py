"""Which models are loaded. Knows their directory and their names, not how they draw a reply."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from app.errors import NotFoundError
from chatbot.errors import RejoinderError

if TYPE_CHECKING:  # chatbot.bot imports torch: the service starts, and its tests run, without that second and a half
    from chatbot.bot import Answer, ReplyRequest

log = logging.getLogger(__name__)


class BotLimits(Protocol):
    """How much a model can read and write."""

    @property
    def context_tokens(self) -> int:
        """Tokens of the history that fit."""

    @property
    def reply_tokens(self) -> int:
        """Tokens of the longest reply."""


class ReplyBot(Protocol):
    """What the service needs of `chatbot.bot.Bot`."""

    @property
    def name(self) -> str:
        """Name of its directory."""

    @property
    def digest(self) -> str:
        """SHA-256 of weights and tokenizer."""

    @property
    def card(self) -> str:
        """Its README.md, or nothing."""

    @property
    def limits(self) -> BotLimits:
        """How much it can read and write."""

    @property
    def has_discriminator(self) -> bool:
        """Whether it can rank candidates."""

    @property
    def device(self) -> str:
        """Where it computes."""

    def answer(self, requests: "Sequence[ReplyRequest]") -> "list[Answer]":
        """Draw the replies to all `requests` together. Raises RequestError when one of them cannot be met."""


class Models:
    """The loaded models by name, and why the others are not loaded."""

    def __init__(self, bots: Iterable[ReplyBot] = (), broken: Mapping[str, str] | None = None) -> None:
        self._bots = {bot.name: bot for bot in bots}
        self.broken: Mapping[str, str] = dict(broken or {})

    def __iter__(self) -> Iterator[ReplyBot]:
        return iter(self._bots.values())

    def __len__(self) -> int:
        return len(self._bots)

    @property
    def names(self) -> list[str]:
        """Return the names of the loaded models."""
        return list(self._bots)

    def get(self, name: str) -> ReplyBot:
        """Return the model called `name`. Raises NotFoundError, which lists the loaded ones."""
        try:
            return self._bots[name]
        except KeyError:
            loaded = ", ".join(self._bots) or "none"
            raise NotFoundError(
                f"the model {name[:100]!r} is not loaded; loaded: {loaded}", param="model", code="model_not_found"
            ) from None


def load_models(directory: Path, device: str = "auto") -> Models:
    """Load every bundle of `directory`, one sub-directory each; a broken one is set aside and its reason kept.

    A sub-directory with neither a config nor weights is no bundle and is passed over: a run's directory, which holds
    its bundles beside its logs, can be served as it is.

    Raises RejoinderError when `directory` is missing, or when it holds bundles and none can be loaded.
    """
    if not directory.is_dir():
        raise RejoinderError(f"{directory}: no such directory; expected one with a sub-directory for each model")
    from chatbot.bot import Bot

    bots: list[ReplyBot] = []
    broken: dict[str, str] = {}
    # A name with a dot in front is a bundle still being written, or no bundle at all.
    for path in sorted(path for path in directory.iterdir() if not path.name.startswith(".") and _is_bundle(path)):
        try:
            bot = Bot.load(path, device=device)
            if bot.name in {other.name for other in bots}:
                raise RejoinderError(f"{path}: another model is called {bot.name!r} already")
            bots.append(bot)
        except RejoinderError as error:
            log.error("the model %s is left out: %s", path.name, error)
            broken[path.name] = str(error)
    if broken and not bots:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in broken.items())
        raise RejoinderError(f"{directory}: none of the {len(broken)} models can be loaded ({reasons})")
    return Models(bots, broken)


def _is_bundle(path: Path) -> bool:
    return path.is_dir() and ((path / "config.json").exists() or any(path.glob("*.safetensors")))
