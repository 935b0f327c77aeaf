"""The run directory: resolved config, metrics, samples, bundles and the state that a resumed run continues from.

    config.json  metrics.jsonl  samples.jsonl  tensorboard/STAGE/  bundle/ (the product)  mle/ (adversarial runs)
    backward/ (runs with that stage)  state.pt

The run state holds what only training needs (optimizers, random states, position); the service never reads it.
"""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch

from chatbot.whole_file import whole_file
from training import ranks
from training.composition import from_tree, to_tree
from training.config import Config
from training.errors import RunError

FORMAT: Final = 1
"""Of the run state; raised when an older Rejoinder's state cannot be continued."""
STATE: Final = "state.pt"
CONFIG: Final = "config.json"
METRICS: Final = "metrics.jsonl"
SAMPLES: Final = "samples.jsonl"


class Run:
    """Write a run's files; every line of metrics goes to `metrics.jsonl` and to TensorBoard."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._writer: Any = None
        self._written = ""

    @classmethod
    def create(cls, directory: Path, config: Config, about: dict[str, Any]) -> "Run":
        """Begin a run in a directory that is new or empty. Raises RunError when something is there already."""
        if ranks.number():
            return cls(directory)
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise RunError(f"{directory} is not empty; continue that run with --resume or name another directory")
        try:
            directory.mkdir(parents=True, exist_ok=True)
            cls(directory).amend(config, about)
        except OSError as error:
            raise RunError(f"{directory}: cannot be written ({error.strerror})") from None
        return cls(directory)

    def amend(self, config: Config, about: dict[str, Any]) -> None:
        """Write the config anew: something in it was decided after the run had begun."""
        if ranks.number():
            return
        tree = {"config": to_tree(config), **about}
        write_atomically(self.directory / CONFIG, (json.dumps(tree, indent=2) + "\n").encode())

    @classmethod
    def reopen(cls, directory: Path) -> tuple["Run", Config, dict[str, Any]]:
        """Return the run at `directory`, its config and what `create` was told. Raises RunError when it is none."""
        path = directory / CONFIG
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            config = from_tree(tree.pop("config"))
        except FileNotFoundError:
            raise RunError(f"{directory}: no run to resume ({CONFIG} is missing)") from None
        except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise RunError(f"{path}: cannot be read as a run's config ({error})") from None
        return cls(directory), config, tree

    def log(self, step: int, stage: str, metrics: dict[str, float]) -> None:
        """Append one line of metrics; a number that is not finite, which JSON has no word for, is null."""
        if ranks.number():
            return
        finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        self._append(METRICS, {"step": step, "stage": stage, **finite})
        if self._written != stage:
            from torch.utils.tensorboard import SummaryWriter  # slow to import, and an extra

            self.close()
            # Each stage counts its steps from 0 and has a folder of its own: purging forgets a folder's later steps.
            self._writer = SummaryWriter(str(self.directory / "tensorboard" / stage), purge_step=step)
            self._written = stage
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def show(self, step: int, stage: str, rows: list[dict[str, str]]) -> None:
        """Append replies for people to read."""
        for row in rows if not ranks.number() else []:
            self._append(SAMPLES, {"step": step, "stage": stage, **row})

    def save_state(self, state: dict[str, Any]) -> None:
        """Replace the run state; a kill at any moment leaves the old or the new one, whole."""
        kept = {name: self._size(name) for name in (METRICS, SAMPLES)}
        path = self.directory / STATE
        with _told(path), whole_file(path) as file:
            torch.save({**state, "format": FORMAT, "files": kept}, file)

    def load_state(self) -> dict[str, Any] | None:
        """Return the newest run state, None when the run was killed before its first; forget what was logged later."""
        path = self.directory / STATE
        if not path.is_file():
            self._truncate({METRICS: 0, SAMPLES: 0})
            return None
        try:
            # Tensors and plain values only: a run state never runs code on loading.
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            raise RunError(f"{path}: cannot be read as a run state ({reason})") from None
        if not isinstance(state, dict) or "files" not in state:
            raise RunError(f"{path}: cannot be read as a run state (it is something else)")
        found = state.pop("format", FORMAT)
        if found != FORMAT:
            raise RunError(f"{path}: run state of format {found}, this version of Rejoinder continues format {FORMAT}")
        self._truncate(state.pop("files"))
        return state

    def close(self) -> None:
        """Flush TensorBoard."""
        if self._writer is not None:
            self._writer.close()
            self._writer, self._written = None, ""

    def _append(self, name: str, row: dict[str, Any]) -> None:
        path = self.directory / name
        with _told(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def _size(self, name: str) -> int:
        path = self.directory / name
        return path.stat().st_size if path.is_file() else 0

    def _truncate(self, sizes: dict[str, int]) -> None:
        for name, size in sizes.items() if not ranks.number() else ():
            if self._size(name) > size:
                os.truncate(self.directory / name, size)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a small file, whole or not at all."""
    with whole_file(path) as file:
        file.write(content)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Raise RunError when `path` cannot be written: the run goes on from its last state once there is room."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch.save tells a full disk in its own words
        raise RunError(f"{path}: cannot be written ({_reason(error)}); continue the run with --resume") from error


def _reason(error: BaseException) -> str:
    """Return the system's words for what went wrong, which torch hides behind its own or swallows."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return f"most likely: No space left on device; torch says: {str(error).splitlines()[0]}"
