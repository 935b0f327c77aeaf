"""What was learnt on a pretrained language model, without the model: small enough to be passed on.

A bundle with adapters holds the language model beside them, so it needs nothing else. Whoever has the model already can
be given the adapters alone, and puts them together with it again.
"""

import shutil
from pathlib import Path

from chatbot.bundle import CARD, WEIGHTS, load_bundle
from chatbot.bundle_config import CONFIG, check_config, check_digest, read_config
from chatbot.errors import BundleError, ExportError
from chatbot.export.new_directory import new_directory
from chatbot.pretrained_bundle import LANGUAGE_MODEL


def write_adapters(bundle: Path, directory: Path) -> None:
    """Write all but the language model of the bundle at `bundle` into `directory`; the config names its SHA-256.

    Raises ExportError when the bundle holds no language model of its own.
    """
    files = read_config(bundle)["files"]
    if LANGUAGE_MODEL not in files:
        raise ExportError(f"{bundle}: holds no language model beside what was learnt, so it has no adapters alone")
    _copy_learnt(bundle, directory)


def complete_bundle(adapters: Path, source: str, out: Path) -> None:
    """Put the adapters at `adapters` together with the language model at `source`: a whole bundle at `out`, or nothing.

    `source` is what `generator.path` is in training. Raises BundleError when these are no adapters, or `source` is
    another model than the one that they learnt on; LanguageModelError when it cannot be had; ExportError when `out` is
    there already.
    """
    from chatbot.generator.pretrained_source import fetch_language_model

    config = read_config(adapters)
    check_config(config, adapters / CONFIG)
    check_digest(config, adapters / CONFIG)
    files = config["files"]
    if not isinstance(files, dict) or LANGUAGE_MODEL not in files:
        raise BundleError(f"{adapters}: needs no language model, expected what --to adapters wrote")
    bf16 = config["generator"]["language_model"]["weights"] == "bfloat16"
    with new_directory(out) as fresh:
        model, _ = fetch_language_model(source, bf16=bf16, turns="plain")
        _copy_learnt(adapters, fresh)
        digest = model.save(fresh / LANGUAGE_MODEL)
        if digest != files[LANGUAGE_MODEL]:
            raise BundleError(
                f"{source}: is not the language model that {adapters} learnt on "
                f"(sha256 of its weights {digest[:12]}, expected {files[LANGUAGE_MODEL][:12]})"
            )
        (fresh / LANGUAGE_MODEL).chmod(0o644)
        load_bundle(fresh)


def _copy_learnt(source: Path, target: Path) -> None:
    """Copy all that a bundle holds but its language model; by our own names, since a config could say any."""
    for name in (CONFIG, CARD, "tokenizer.json", *WEIGHTS):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
