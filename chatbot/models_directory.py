"""The directory that models are loaded from: which of its sub-directories are bundles, and which have changed.

Knows files and names; what a bundle is made of is known to `load` alone. Imports no torch.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from chatbot.errors import RejoinderError

log = logging.getLogger(__name__)

FileStates = dict[str, tuple[int, int, int]]
"""By a file's path within its bundle: bytes, and when (ns) its content and its entry were changed last."""


class Named(Protocol):
    """What is loaded has a name."""

    @property
    def name(self) -> str:
        """Return the name that others know it by."""


Model = TypeVar("Model", bound=Named)


@dataclass(frozen=True)
class LoadedModel(Generic[Model]):
    """A model, where it was loaded from, and the files there as they were before they were read."""

    model: Model
    path: Path
    files: FileStates


def bundles_in(directory: Path) -> list[Path]:
    """Return the sub-directories of `directory` that are meant to be bundles, by name; none where it is missing.

    A sub-directory with neither a config nor weights is no bundle: a run's directory, which holds its bundles beside
    its logs, can be served as it is. A name with a dot in front is a bundle still being written, or none at all.
    """
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if not path.name.startswith(".") and _is_bundle(path))


def _is_bundle(path: Path) -> bool:
    """Say whether a directory is meant to be a bundle: a broken one is, too."""
    return path.is_dir() and ((path / "config.json").exists() or any(path.glob("*.safetensors")))


def load_models(
    directory: Path, load: Callable[[Path], Model], known: Iterable[LoadedModel[Model]] = ()
) -> tuple[list[LoadedModel[Model]], dict[str, str]]:
    """Load every bundle of `directory`; a broken one is set aside and its reason returned.

    One of `known` whose files are as they were is kept. Sizes and times are compared, and no file is read for that:
    whatever writes, replaces or copies over a file of a bundle has it loaded anew.

    Raises RejoinderError when `directory` is missing, or when it holds bundles and none can be loaded.
    """
    if not directory.is_dir():
        raise RejoinderError(f"{directory}: no such directory; expected one with a sub-directory for each model")
    before = {one.path: one for one in known}
    loaded: list[LoadedModel[Model]] = []
    broken: dict[str, str] = {}
    for path in bundles_in(directory):
        try:
            files = _states(path)
            one = before.get(path)
            if one is None or one.files != files:
                one = LoadedModel(load(path), path, files)
            if one.model.name in {other.model.name for other in loaded}:
                raise RejoinderError(f"{path}: another model is called {one.model.name!r} already")
            loaded.append(one)
        except RejoinderError as error:
            log.error("the model %s is left out: %s", path.name, error)
            broken[path.name] = str(error)
    if broken and not loaded:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in broken.items())
        raise RejoinderError(f"{directory}: none of the {len(broken)} models can be loaded ({reasons})")
    return loaded, broken


def _states(bundle: Path) -> FileStates:
    """Return how the files of a bundle are now; a link is followed. What cannot be looked at counts as missing."""
    states = {}
    for path in bundle.rglob("*"):
        try:
            state = path.stat()
        except OSError:  # a link that leads nowhere, or removed meanwhile: loading it finds out
            continue
        if path.is_file():
            states[str(path.relative_to(bundle))] = (state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    return states
