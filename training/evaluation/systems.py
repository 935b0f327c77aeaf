"""Who takes part in an evaluation: bundles by name, several of one name being training seeds, and who is added.

Knows names, and what bundles must share to be compared; loads no weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chatbot.bundle import CONFIG, Limits, bundle_digest, read_config
from chatbot.errors import BundleError
from training.corpus.dataset import PreparedDataset
from training.errors import ConfigError, RunError

HUMAN: Final = "human"
"""The replies that were really given: the ceiling."""
SHUFFLED: Final = "human shuffled"
"""The same replies, each to somebody else's context: perfect language, no relevance. The floor."""
_PRODUCT: Final = "bundle"


@dataclass(frozen=True)
class SystemSpec:
    """A bundle and the name of the system that it is one training seed of."""

    name: str
    bundle: Path


@dataclass(frozen=True)
class System:
    """One system of the report."""

    name: str
    bundles: tuple[Path, ...]
    """One for each training seed; none for human replies."""
    best_of: int = 1
    """Candidates that the bundle's own discriminator chooses from; 1: none."""


def parse_system(text: str) -> SystemSpec:
    """Return the system that `[NAME=]BUNDLE` says; without a name it is called by its path.

    A run directory stands for the bundle in it.
    """
    name, equals, path = text.partition("=")
    if not equals or Path(text).exists():
        name, path = "", text
    directory = Path(path)
    if not (directory / CONFIG).is_file() or (directory / _PRODUCT / CONFIG).is_file():
        directory = directory / _PRODUCT if (directory / _PRODUCT).is_dir() else directory
    parts = [part for part in directory.absolute().parts if part != _PRODUCT]
    return SystemSpec(name.strip() or parts[-1], directory)


def parse_systems(texts: Sequence[str]) -> list[SystemSpec]:
    """Return the systems that the texts say.

    Raises ConfigError when two bundles without a name would get the same one: they would pass for seeds of one system.
    """
    specs = [parse_system(text) for text in texts]
    unnamed: set[str] = set()
    for text, spec in zip(texts, specs, strict=True):
        if not text.startswith(f"{spec.name}="):
            if spec.name in unnamed:
                raise ConfigError(
                    f"two bundles would be called {spec.name!r}: give them names, NAME={spec.bundle} "
                    "(the same one for training seeds of one system)"
                )
            unnamed.add(spec.name)
    return specs


def gather(specs: Sequence[SystemSpec], best_of: int) -> list[System]:
    """Return the systems in the order of their first bundles, each followed by its reranked twin where it has one.

    Raises ConfigError for a name that is taken, RunError for a bundle named twice under one name, BundleError for what
    is no bundle.
    """
    bundles: dict[str, list[Path]] = {}
    digests: dict[tuple[str, str], Path] = {}
    for spec in specs:
        if spec.name in (HUMAN, SHUFFLED):
            raise ConfigError(f"a system cannot be called {spec.name!r}: it is added by itself")
        digest = bundle_digest(spec.bundle)
        twin = digests.setdefault((spec.name, digest), spec.bundle)
        if twin is not spec.bundle:
            raise RunError(f"{twin} and {spec.bundle} are the same model: not two training seeds of {spec.name!r}")
        bundles.setdefault(spec.name, []).append(spec.bundle)
    systems: list[System] = []
    for name, paths in bundles.items():
        systems.append(System(name, tuple(paths)))
        if best_of > 1 and all(read_config(path).get("discriminator") for path in paths):
            systems.append(System(f"{name} + best of {best_of} by D", tuple(paths), best_of))
    names = [system.name for system in systems]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two systems are called {name!r}: choose another name")
    return systems


def common_limits(specs: Sequence[SystemSpec], data: PreparedDataset) -> Limits:
    """Return the longest context that any bundle reads, and the reply limit that all share.

    Raises RunError when reply limits differ, or a bundle has another tokenizer than the data.
    """
    tokenizer = data.tokenizer_path.read_bytes()
    limits: dict[Path, Limits] = {}
    for spec in specs:
        try:
            limits[spec.bundle] = Limits(**read_config(spec.bundle)["limits"])
            own = (spec.bundle / "tokenizer.json").read_bytes()
        except (KeyError, TypeError, OSError) as error:
            raise BundleError(f"{spec.bundle}: incomplete bundle ({error})") from None
        if own != tokenizer:
            raise RunError(f"{spec.bundle} has another tokenizer than {data.path}: evaluate it on the data it learnt")
    replies = {limit.reply_tokens for limit in limits.values()}
    if len(replies) > 1:
        said = ", ".join(f"{path}: {limit.reply_tokens}" for path, limit in limits.items())
        raise RunError(f"the bundles write replies of different lengths, which cannot be compared ({said} tokens)")
    return Limits(max(limit.context_tokens for limit in limits.values()), replies.pop())
