"""What a bundle holds of a pretrained generator: the language model itself, what was learnt, and how they fit together.

    language_model.safetensors  the frozen language model: with adapters, or a discriminator that reads with it
    generator.safetensors       the adapters, or all weights where all were tuned
    discriminator.safetensors   the head

Everything is in the directory: a bundle loads without a network, and only safetensors are read.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from chatbot.errors import BundleError, LanguageModelError
from chatbot.generator.language_model import LanguageModel, LanguageModelConfig
from chatbot.generator.pretrained import Adapters, PretrainedGenerator
from chatbot.pretrained_discriminator import HeadConfig, PretrainedDiscriminator

LANGUAGE_MODEL: Final = "language_model.safetensors"
PRETRAINED: Final = "pretrained"
_NETWORK: Final = "trunk.network."
_LARGEST: Final = 65_536


def is_pretrained(tree: object) -> bool:
    """Say whether a bundle's description of a generator or discriminator is that of a pretrained one."""
    return isinstance(tree, Mapping) and tree.get("architecture") == PRETRAINED


def describe_pretrained(generator: PretrainedGenerator) -> dict[str, Any]:
    """Return what a bundle's config says of the generator."""
    adapters = generator.adapters
    return {
        "architecture": PRETRAINED,
        "adapters": None if adapters is None else asdict(adapters),
        "language_model": generator.language_model.config.to_tree(),
    }


def describe_pretrained_discriminator(discriminator: PretrainedDiscriminator) -> dict[str, Any]:
    """Return what a bundle's config says of the discriminator."""
    return {"architecture": PRETRAINED, **asdict(discriminator.config)}


def needs_language_model(generator: object, discriminator: object) -> bool:
    """Say whether a bundle with these descriptions holds the frozen language model beside what was learnt."""
    if not isinstance(generator, Mapping) or not is_pretrained(generator):
        return False
    return generator.get("adapters") is not None or is_pretrained(discriminator)


def build_pretrained(
    config: Mapping[str, Any],
    directory: Path,
    lengths: tuple[int, int],
    device: torch.device | str,
    sharing: object,
) -> tuple[PretrainedGenerator, PretrainedDiscriminator | None]:
    """Return the generator that `config` describes, and the discriminator if it reads with the same language model.

    Their learnt weights are still to be loaded. `lengths` are context and reply tokens. The language model is that of
    the generator `sharing` where it is the same. Raises BundleError.
    """
    where = f"{directory}/config.json: "
    generator, judge = config["generator"], config["discriminator"]
    _expect_keys(generator, {"architecture", "adapters", "language_model"}, f"{where}generator: ")
    if not isinstance(generator["language_model"], Mapping):
        raise BundleError(f"{where}generator: language_model: expected an object")
    adapters = _adapters(generator["adapters"], f"{where}generator: adapters: ")
    head = _head(judge, f"{where}discriminator: ") if is_pretrained(judge) else None
    try:
        described = LanguageModelConfig.from_tree(generator["language_model"])
        model = _language_model(config, described, directory, device, sharing)
        made = PretrainedGenerator(model, adapters, *lengths).to(device)
        return made, None if head is None else PretrainedDiscriminator(model, head, *lengths).to(device)
    except LanguageModelError as error:
        raise BundleError(f"{directory}: {error}") from None


def _language_model(
    config: Mapping[str, Any],
    described: LanguageModelConfig,
    directory: Path,
    device: torch.device | str,
    sharing: object,
) -> LanguageModel:
    digest = config["files"].get(LANGUAGE_MODEL)
    if isinstance(sharing, PretrainedGenerator) and digest is not None and sharing.language_model.digest == digest:
        return sharing.language_model
    if digest is not None:
        return LanguageModel.load(described, directory / LANGUAGE_MODEL, device, digest)
    path = directory / "generator.safetensors"  # all weights were tuned: they are the language model
    try:
        weights = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise LanguageModelError(f"{path}: cannot be read as safetensors ({error})") from None
    bare = {key.removeprefix(_NETWORK): value for key, value in weights.items()}
    return LanguageModel.build(described, bare, str(path), device)


def _adapters(values: Any, where: str) -> Adapters | None:
    if values is None:
        return None
    _expect_keys(values, {f.name for f in fields(Adapters)}, where)
    targets = values["targets"]
    if not isinstance(targets, list) or not all(isinstance(name, str) for name in targets):
        raise BundleError(f"{where}targets is {targets!r:.80}, expected a list of names")
    for key in ("rank", "alpha"):
        _expect_size(values[key], f"{where}{key}")
    return Adapters(values["rank"], values["alpha"], tuple(targets))


def _head(values: Any, where: str) -> HeadConfig:
    _expect_keys(values, {"architecture", *(f.name for f in fields(HeadConfig))}, where)
    _expect_size(values["width"], f"{where}width")
    if type(values["dropout"]) not in (int, float) or not 0 <= values["dropout"] <= 1:
        raise BundleError(f"{where}dropout is {values['dropout']!r:.80}, expected 0 to 1")
    return HeadConfig(values["width"], values["dropout"])


def _expect_keys(values: Any, known: set[str], where: str) -> None:
    if not isinstance(values, Mapping) or set(values) != known:
        found = sorted(values) if isinstance(values, Mapping) else repr(values)[:80]
        raise BundleError(f"{where}found {found}, expected {sorted(known)}")


def _expect_size(value: Any, where: str) -> None:
    if type(value) is not int or not 1 <= value <= _LARGEST:
        raise BundleError(f"{where} is {value!r:.80}, expected a whole number from 1 to {_LARGEST}")
