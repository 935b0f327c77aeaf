"""Directories that appear whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatbot.errors import ExportError


@contextmanager
def new_directory(out: Path) -> Iterator[Path]:
    """Give a directory that becomes `out` when the block ends well, and is gone otherwise.

    Raises ExportError when `out` is there already and is not an empty directory.
    """
    out = out.absolute()
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ExportError(f"{out}: is there already, expected a new or an empty directory")
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        fresh.chmod(0o755)  # mkdtemp's own mode would shut out a service that runs as another user
        yield fresh
        fresh.replace(out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
