"""A bundle's config.json: what it says, that it says all of it, and the few things that may be changed there.

It carries its own digest, so what was altered by hand is found out before it answers.
"""

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from chatbot.errors import BundleError, RequestError
from chatbot.request import Decoding
from chatbot.whole_file import whole_file

FORMAT: Final = 3
"""The newest that is read. 1 is what was written before a config knew its own digest and weights could be compact; 3 is
written for pretrained generators, which older versions of Rejoinder would not know."""
CONFIG: Final = "config.json"
_KEYS: Final = {"format", "vocabulary_size", "limits", "generator", "discriminator", "info", "files"}
OWN_DIGEST: Final = "sha256"
"""Of config.json itself; what was written before there was one is read without."""
_DECODING: Final = "decoding"
"""May be missing: how replies are drawn where a request does not say."""
_PREFERENCES: Final = ("temperature", "top_p")
_LARGEST: Final = 2**20
_DEEPEST: Final = 256
"""No model has larger sizes or more layers: a config that says so is damaged, or means to keep the machine busy."""


@dataclass(frozen=True)
class Limits:
    """Say how long contexts and replies may be, in tokens, the ends of turns counted."""

    context_tokens: int
    reply_tokens: int


def read_config(directory: Path) -> dict[str, Any]:
    """Return the bundle's config.json without loading weights. Raises BundleError as `load_bundle` does."""
    try:
        if not directory.is_dir():
            raise BundleError(f"{directory}: no such bundle (expected a directory with {CONFIG})")
        _refuse_links(directory)
        config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"{directory}: not a bundle, {CONFIG} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{directory / CONFIG}: cannot be read as JSON ({error})") from None
    if not isinstance(config, dict) or type(config.get("format")) is not int:  # True is an int, too
        raise BundleError(f"{directory / CONFIG}: names no format version")
    if config["format"] > FORMAT:
        raise BundleError(
            f"{directory}: bundle format {config['format']}, this version of Rejoinder reads up to {FORMAT}; upgrade it"
        )
    if config["format"] < 1:
        raise BundleError(f"{directory}: bundle format {config['format']}, expected 1 to {FORMAT}")
    return config


def _refuse_links(directory: Path) -> None:
    """Refuse files that lie elsewhere: a bundle comes from others, and its card is shown to whoever asks."""
    home = directory.resolve()  # the bundle itself may be linked to: whoever serves it chose so
    for path in directory.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(home):
            raise BundleError(f"{path}: is a link that leads out of the bundle, expected a file")


def config_digest(config: dict[str, Any]) -> str:
    """Return the sha256 (hex) of a config without its own."""
    values = {key: value for key, value in config.items() if key != OWN_DIGEST}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def check_digest(config: dict[str, Any], path: Path) -> None:
    """Check that a config is what was written, where it carries its own digest. Raises BundleError."""
    if config.get(OWN_DIGEST, digest := config_digest(config)) != digest:
        raise BundleError(f"{path}: was altered (sha256 differs)")


def bundle_digest(directory: Path) -> str:
    """Return the sha256 (hex) that identifies the checkpoint: weights, tokenizer and shapes, but not the card."""
    config = read_config(directory)
    identity = {key: config.get(key) for key in ("format", "limits", "generator", "discriminator", "files")}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def check_config(config: dict[str, Any], path: Path) -> Limits:
    """Return the limits of a bundle whose config has all its parts. Raises BundleError."""
    optional = {OWN_DIGEST, _DECODING}
    expect_keys({key: value for key, value in config.items() if key not in optional}, _KEYS, f"{path}: ")
    expect_keys(config["limits"], {f.name for f in fields(Limits)}, f"{path}: limits: ")
    expect_keys(config["info"], None, f"{path}: info: ")
    expect_sizes({"vocabulary_size": config["vocabulary_size"]}, f"{path}: ")
    expect_sizes(config["limits"], f"{path}: limits: ")
    return Limits(**config["limits"])


def preferred_decoding(config: dict[str, Any], path: Path) -> Decoding:
    """Return how replies are drawn where a request does not say. Raises BundleError."""
    values = config.get(_DECODING, {})
    where = f"{path}: {_DECODING}: "
    expect_keys(values, None, where)
    expect_keys(values, values.keys() & set(_PREFERENCES), where)
    for key, value in values.items():
        if type(value) not in (int, float):
            raise BundleError(f"{where}{key} is {value!r:.80}, expected a number")
    try:
        return Decoding(**values)
    except RequestError as error:
        raise BundleError(f"{where}{error}") from None


def describe_decoding(decoding: Decoding) -> dict[str, Any]:
    """Return what a config says of `decoding`: nothing where it is as everywhere else."""
    plain = Decoding()
    changed = {key: getattr(decoding, key) for key in _PREFERENCES if getattr(decoding, key) != getattr(plain, key)}
    return {_DECODING: changed} if changed else {}


def prefer_decoding(directory: Path, decoding: Decoding) -> None:
    """Write into the bundle at `directory` that replies are drawn so where a request does not say.

    The checkpoint stays the same, and so does its digest. Raises BundleError; the bundle is then as it was.
    """
    config = read_config(directory)
    check_config(config, directory / CONFIG)
    check_digest(config, directory / CONFIG)
    kept = {key: value for key, value in config.items() if key not in (_DECODING, OWN_DIGEST)}
    try:
        write_config(kept | describe_decoding(decoding), directory)
    except OSError as error:
        raise BundleError(f"{directory}: cannot be written ({error.strerror})") from None


def write_config(config: dict[str, Any], directory: Path) -> None:
    """Write `config` with its own digest. Raises OSError."""
    signed = config | {OWN_DIGEST: config_digest(config)}
    with whole_file(directory / CONFIG) as file:
        file.write(f"{json.dumps(signed, indent=2, ensure_ascii=False)}\n".encode())
    (directory / CONFIG).chmod(0o644)


def expect_keys(values: Any, known: set[str] | None, where: str) -> None:
    """Check that `values` is an object, with the `known` keys if any. Raises BundleError, which begins with `where`."""
    if not isinstance(values, dict):
        raise BundleError(f"{where}found {values!r:.80}, expected an object")
    if known is not None and values.keys() != known:
        missing, extra = sorted(known - values.keys()), sorted(values.keys() - known)
        raise BundleError(f"{where}missing {missing}, not expected {extra}")


def expect_sizes(sizes: dict[str, Any], where: str) -> None:
    """Check that all `sizes` are whole numbers that a model may have. Raises BundleError, which begins with `where`."""
    for key, value in sizes.items():
        least, most = int(key != "encoder_layers"), _DEEPEST if key.endswith("_layers") else _LARGEST
        if type(value) is not int or not least <= value <= most:
            raise BundleError(f"{where}{key} is {value!r:.80}, expected a whole number from {least} to {most}")
