"""Write a bundle for another runtime, or smaller, whole or not at all. Knows which target can express what."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from chatbot.bundle import Bundle, load_bundle, save_bundle
from chatbot.errors import ExportError
from chatbot.export.adapters import write_adapters
from chatbot.export.ct2 import write_ctranslate2
from chatbot.export.hf import write_hugging_face
from chatbot.export.language_model import write_language_model
from chatbot.export.new_directory import new_directory
from chatbot.export.onnx_graphs import write_onnx
from chatbot.export.source import own_generator
from chatbot.generator.pretrained import PretrainedGenerator


def _write_compact(bundle: Bundle, directory: Path) -> None:
    save_bundle(bundle, directory, compact=True)


_WRITERS: Final[Mapping[str, Callable[[Bundle, Path], None]]] = {
    "compact": _write_compact,
    "hf": write_hugging_face,
    "ct2": write_ctranslate2,
    "onnx": write_onnx,
}
ADAPTERS: Final = "adapters"
"""Of a pretrained generator: a bundle without its language model."""
_TRANSFORMERS_ONLY: Final = ("hf", "ct2")
"""No class of theirs has a recurrent decoder that attends to its context. A graph of ONNX can be anything."""


def export_bundle(directory: Path, target: str, out: Path) -> None:
    """Write the generator of the bundle at `directory` to the new directory `out`, in the format of `target`.

    `compact` is a bundle again, with its discriminator, in a quarter of the space; `adapters` is one of a pretrained
    generator without the language model, for `complete_bundle`.
    Raises ExportError when the target is unknown, cannot express the bundle's architecture, needs a package that is
    not installed, or when `out` is there already; BundleError for the bundle.
    """
    if target not in (*_WRITERS, ADAPTERS):
        raise ExportError(f"--to is {target!r}, expected {_either([*_WRITERS, ADAPTERS])}")
    bundle = load_bundle(directory)
    write = _writer(bundle, target, directory)
    try:
        with new_directory(out) as fresh:
            write(bundle, fresh)
    except ModuleNotFoundError as error:
        raise ExportError(f"--to {target} needs the package {error.name}: pip install 'rejoinder[export]'") from None


def _writer(bundle: Bundle, target: str, directory: Path) -> Callable[[Bundle, Path], None]:
    """Return what writes this bundle for `target`. Raises ExportError where nothing can."""
    if target == ADAPTERS:
        return lambda _, out: write_adapters(directory, out)
    if target == "hf" and isinstance(bundle.generator, PretrainedGenerator):
        return write_language_model
    architecture = own_generator(bundle).trunk.config.architecture
    if target in _TRANSFORMERS_ONLY and architecture != "transformer":
        possible = [name for name in _WRITERS if name not in _TRANSFORMERS_ONLY]
        raise ExportError(
            f"{directory}: a {architecture} generator cannot be expressed as {target}, "
            f"expected --to {_either(possible)}"
        )
    return _WRITERS[target]


def _either(names: Mapping[str, object] | list[str]) -> str:
    return " or ".join(names)
