"""Where the content of files lies: `files/ID` in the state directory. Knows ids and bytes, no names, no database.

A file appears whole or not at all: it is written under another name, then renamed.
"""

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

_ID: Final = re.compile(r"file-[0-9a-f]{32}")


def new_file_id() -> str:
    """Return the id of a file that is not there yet."""
    return f"file-{uuid.uuid4().hex}"


def _check(file_id: str) -> None:
    if not _ID.fullmatch(file_id):
        raise ValueError(f"{file_id!r} is no id of a file")


class Draft:
    """A file that is being written: `keep` puts it in place."""

    def __init__(self, path: Path, content: BinaryIO) -> None:
        self._path = path
        self.content = content
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append `data`."""
        self.content.write(data)
        self.size += len(data)

    def flush(self) -> None:
        """See to it that a power cut loses nothing of it."""
        self.content.flush()
        os.fsync(self.content.fileno())

    def keep(self, folder: Path, file_id: str) -> None:
        """Put it in place as `file_id`; one that is there already is replaced."""
        self._path.replace(folder / file_id)


class Storage:
    """The directory of files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def draft(self) -> Iterator[Draft]:
        """Give a new file to write, which is gone after the block unless it was kept."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f".{uuid.uuid4().hex}.new"
        try:
            with path.open("wb") as content:
                yield Draft(path, content)
        finally:
            path.unlink(missing_ok=True)

    def keep(self, draft: Draft, file_id: str) -> None:
        """Put `draft` in place as `file_id`."""
        _check(file_id)
        draft.keep(self._folder, file_id)

    def path(self, file_id: str) -> Path:
        """Return where the content of `file_id` lies. The id comes from the database: no client writes paths."""
        _check(file_id)
        return self._folder / file_id

    def remove(self, file_id: str) -> None:
        """Delete the content of `file_id`."""
        with suppress(FileNotFoundError):
            self.path(file_id).unlink()
