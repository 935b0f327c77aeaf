"""The model directory on disk: everything the service needs to answer, and nothing that only training needs.

    config.json  generator.safetensors  discriminator.safetensors (may be missing)  tokenizer.json  README.md
    language_model.safetensors (pretrained generators with adapters: see `pretrained_bundle`)

Files are named with their sha256 in config.json, so a truncated or altered bundle is found out before it answers.
"""

import hashlib
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from chatbot.bundle_config import CONFIG as CONFIG
from chatbot.bundle_config import FORMAT as FORMAT
from chatbot.bundle_config import Limits as Limits
from chatbot.bundle_config import bundle_digest as bundle_digest
from chatbot.bundle_config import (
    check_config,
    check_digest,
    describe_decoding,
    expect_keys,
    expect_sizes,
    preferred_decoding,
    write_config,
)
from chatbot.bundle_config import read_config as read_config
from chatbot.compact import compress, expand
from chatbot.discriminator import Discriminator, PairDiscriminator
from chatbot.errors import BundleError, TokenizerError
from chatbot.generator.pretrained import PretrainedGenerator
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import Architecture, TrunkConfig
from chatbot.pretrained_bundle import (
    LANGUAGE_MODEL,
    build_pretrained,
    describe_pretrained,
    describe_pretrained_discriminator,
    is_pretrained,
    needs_language_model,
)
from chatbot.pretrained_discriminator import PretrainedDiscriminator
from chatbot.request import Decoding
from chatbot.tokenizer import Tokenizer

AnyGenerator = Seq2SeqGenerator | PretrainedGenerator

_OWN_MAKE: Final = 2
CARD: Final = "README.md"
WEIGHTS: Final = ("generator.safetensors", "discriminator.safetensors")


@dataclass(frozen=True)
class Bundle:
    """A loaded model: text comes in and goes out through `tokenizer`, the models see ids."""

    generator: AnyGenerator
    discriminator: PairDiscriminator | None
    tokenizer: Tokenizer
    limits: Limits
    card: str = ""
    info: dict[str, Any] = field(default_factory=dict)
    """What made it: recipe, step, metrics. Read by people, never needed to answer."""
    decoding: Decoding = field(default_factory=Decoding)
    """How replies are drawn where a request does not say."""


def save_bundle(bundle: Bundle, directory: Path, *, compact: bool = False) -> None:
    """Write `bundle` at `directory`, whole or not at all; an older bundle there is replaced.

    `compact` rounds matrices to a byte for each weight: a quarter of the size, no longer exactly the same model.
    Raises BundleError when something else than a bundle is in the way, which is left as it is, when it cannot be
    written, and for a pretrained generator that is to be compact.
    """
    if compact and isinstance(bundle.generator, PretrainedGenerator):
        raise BundleError(f"{directory}: a pretrained generator cannot be kept compact")
    try:
        _save(bundle, directory, compact)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BundleError(f"{directory}: cannot be written ({reason})") from error


def _save(bundle: Bundle, directory: Path, compact: bool) -> None:
    directory = directory.resolve()  # through a symlink, or "."
    if directory.exists() and not (directory.is_dir() and (_is_bundle(directory) or not any(directory.iterdir()))):
        raise BundleError(f"{directory}: in the way and not a bundle, so it is not replaced")
    directory.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        fresh.chmod(0o755)  # mkdtemp's own mode would shut out a service that runs as another user
        bundle.tokenizer.save(fresh / "tokenizer.json")
        (fresh / CARD).write_text(bundle.card, encoding="utf-8")
        models = zip(WEIGHTS, (bundle.generator, bundle.discriminator), strict=True)
        for name, model in models:
            if model is not None:
                weights = {key: value.detach().float().cpu().contiguous() for key, value in model.state_dict().items()}
                save_file(compress(weights) if compact else weights, fresh / name)
        described = [_described(model) for model in (bundle.generator, bundle.discriminator)]
        known = {}
        if isinstance(bundle.generator, PretrainedGenerator) and needs_language_model(*described):
            known[LANGUAGE_MODEL] = bundle.generator.language_model.save(fresh / LANGUAGE_MODEL)
        config: dict[str, Any] = {
            "format": FORMAT if isinstance(bundle.generator, PretrainedGenerator) else _OWN_MAKE,
            "vocabulary_size": bundle.tokenizer.vocabulary_size,
            "limits": asdict(bundle.limits),
            "generator": described[0],
            "discriminator": described[1],
            "info": bundle.info,
            "files": {
                path.name: known.get(path.name) or _sha256(path)
                for path in sorted(fresh.iterdir())
                if path.name != CARD
            },
            **describe_decoding(bundle.decoding),
        }
        write_config(config, fresh)
        for path in fresh.iterdir():
            path.chmod(0o644)  # safetensors writes for its own user alone
        for path in (*fresh.iterdir(), fresh):
            _flush(path)
        _put_in_place(fresh, directory)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def finish_interrupted_save(directory: Path) -> None:
    """Undo what a `save_bundle` killed half-way left: bring back the bundle it had moved aside, remove its fragments.

    Only for the one who writes there: beside a save that is still going on it would do harm.
    """
    old = _moved_aside(directory)
    if old.is_dir() and not directory.exists():
        old.rename(directory)
    for fragment in directory.parent.glob(f".{directory.name}.*"):
        shutil.rmtree(fragment, ignore_errors=True)


def load_bundle(directory: Path, device: torch.device | str = "cpu", sharing: AnyGenerator | None = None) -> Bundle:
    """Read the bundle at `directory`, models in evaluation mode on `device`.

    A pretrained generator `sharing` its frozen language model, where it is the bundle's, saves reading and holding it
    twice.

    Raises BundleError when it is missing, incomplete, altered, of another format version, or its weights do not fit.
    """
    try:
        return _load(directory, device, sharing)
    except OSError as error:
        raise BundleError(f"{directory}: cannot be read ({error})") from None


def _load(directory: Path, device: torch.device | str, sharing: object) -> Bundle:
    config = read_config(directory)
    limits = check_config(config, directory / CONFIG)
    decoding = preferred_decoding(config, directory / CONFIG)
    shared = sharing.language_model.digest if isinstance(sharing, PretrainedGenerator) else ""
    generator: AnyGenerator
    discriminator: PairDiscriminator | None
    if is_pretrained(config["generator"]):
        _check_files(directory, config, shared)
        lengths = (limits.context_tokens, limits.reply_tokens)
        generator, discriminator = build_pretrained(config, directory, lengths, device, sharing)
        if discriminator is None:
            discriminator = _own_discriminator(config, directory / CONFIG, limits)
    else:
        generator, discriminator = _describe(config, directory / CONFIG, limits)
        _check_files(directory, config)
    vocabulary_size = config["vocabulary_size"]
    try:
        tokenizer = Tokenizer.load(directory / "tokenizer.json")
    except TokenizerError as error:
        raise BundleError(str(error)) from None
    if tokenizer.vocabulary_size != vocabulary_size:
        raise BundleError(
            f"{directory}: the tokenizer has {tokenizer.vocabulary_size} ids, the model was made for {vocabulary_size}"
        )
    if generator.vocabulary_size != vocabulary_size:
        raise BundleError(
            f"{directory}: the language model has {generator.vocabulary_size} ids, the bundle says {vocabulary_size}"
        )
    for name, model in zip(WEIGHTS, (generator, discriminator), strict=True):
        if model is not None:
            _load_weights(model, directory / name, device, compact=config["format"] == _OWN_MAKE)
            model.eval()
    # Last, since what does not fit says more than that; this finds what fits and is not what was written.
    check_digest(config, directory / CONFIG)
    card = directory / CARD
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    return Bundle(generator, discriminator, tokenizer, limits, text, config["info"], decoding)


def _described(model: nn.Module | None) -> dict[str, Any] | None:
    """Return what the config says of a model."""
    if isinstance(model, PretrainedGenerator):
        return describe_pretrained(model)
    if isinstance(model, PretrainedDiscriminator):
        return describe_pretrained_discriminator(model)
    return asdict(model.trunk.config) if isinstance(model, Seq2SeqGenerator | Discriminator) else None


def _own_discriminator(config: dict[str, Any], path: Path, limits: Limits) -> Discriminator | None:
    """Return the discriminator of our own make that `config` describes, on the meta device."""
    if config["discriminator"] is None:
        return None
    judged = _trunk_config(config["discriminator"], f"{path}: discriminator: ")
    try:
        with torch.device("meta"):
            return Discriminator(judged, config["vocabulary_size"], limits.context_tokens, limits.reply_tokens)
    except (ValueError, RuntimeError) as error:
        raise BundleError(f"{path}: does not describe a model ({error})") from None


def _describe(config: dict[str, Any], path: Path, limits: Limits) -> tuple[Seq2SeqGenerator, Discriminator | None]:
    """Return the models that `config` describes, on the meta device: shapes, and no memory taken yet."""
    shapes = (config["vocabulary_size"], limits.context_tokens, limits.reply_tokens)
    shape = _trunk_config(config["generator"], f"{path}: generator: ")
    try:
        with torch.device("meta"):
            generator = Seq2SeqGenerator(shape, *shapes)
    except (ValueError, RuntimeError) as error:
        raise BundleError(f"{path}: does not describe a model ({error})") from None
    return generator, _own_discriminator(config, path, limits)


def _trunk_config(values: Any, where: str) -> TrunkConfig:
    expect_keys(values, {f.name for f in fields(TrunkConfig)}, where)
    if values["architecture"] not in get_args(Architecture):
        raise BundleError(f"{where}architecture is {values['architecture']!r}, expected {get_args(Architecture)}")
    if type(values["dropout"]) not in (int, float) or not 0 <= values["dropout"] <= 1:
        raise BundleError(f"{where}dropout is {values['dropout']!r}, expected 0 to 1")
    expect_sizes({key: value for key, value in values.items() if key not in ("architecture", "dropout")}, where)
    return TrunkConfig(**values)


def _check_files(directory: Path, config: dict[str, Any], shared: str = "") -> None:
    """Check that all files are there and as described; that of a language model already `shared` is not read again."""
    expected = {"tokenizer.json", WEIGHTS[0], *([WEIGHTS[1]] if config["discriminator"] else [])}
    if needs_language_model(config["generator"], config["discriminator"]):
        expected.add(LANGUAGE_MODEL)
    expect_keys(config["files"], expected, f"{directory / CONFIG}: files: ")
    for name, digest in config["files"].items():
        path = directory / name
        if not path.is_file():
            helps = f"; these are adapters: rejoinder complete {directory} MODEL" if name == LANGUAGE_MODEL else ""
            raise BundleError(f"{directory}: {name} is missing{helps}")
        if name == LANGUAGE_MODEL and digest == shared:
            continue
        if _sha256(path) != digest:
            raise BundleError(f"{path}: not the file that {CONFIG} describes (truncated or altered: sha256 differs)")


def _load_weights(model: nn.Module, path: Path, device: torch.device | str, *, compact: bool) -> None:
    """Fill `model` from `path`; one made on the meta device takes memory once its weights are known to fit."""
    try:
        weights = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise BundleError(f"{path}: cannot be read as safetensors ({error})") from None
    if compact:
        weights = expand(weights)
    own = model.state_dict()
    missing, extra = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or extra:
        raise BundleError(f"{path}: weights do not fit the model; missing {missing[:5]}, not expected {extra[:5]}")
    for key, value in weights.items():
        if value.shape != own[key].shape:
            raise BundleError(f"{path}: {key} has shape {list(value.shape)}, expected {list(own[key].shape)}")
        if value.dtype != own[key].dtype:
            raise BundleError(f"{path}: {key} holds {value.dtype}, expected {own[key].dtype}")
        if not torch.isfinite(value).all():
            raise BundleError(f"{path}: {key} holds numbers that are not finite")
    if any(tensor.is_meta for tensor in own.values()):
        model.to_empty(device=device)
    model.load_state_dict(weights)


def _is_bundle(directory: Path) -> bool:
    return (directory / CONFIG).is_file() and (directory / WEIGHTS[0]).is_file()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(fresh: Path, directory: Path) -> None:
    """Swap `fresh` in for `directory`; at every moment one whole bundle is on disk, the new or the old.

    A process that dies between the two renames leaves the old one beside it: see `finish_interrupted_save`.
    """
    old = _moved_aside(directory)
    shutil.rmtree(old, ignore_errors=True)
    if directory.exists():
        directory.rename(old)
    try:
        fresh.rename(directory)
    except OSError:
        if old.exists():
            old.rename(directory)
        raise
    shutil.rmtree(old, ignore_errors=True)
    _flush(directory.parent)


def _moved_aside(directory: Path) -> Path:
    return directory.with_name(f".{directory.name}.old")
