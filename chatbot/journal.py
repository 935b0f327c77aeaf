"""The answers that are there so far, on disk: what lets a killed run go on.

One JSON object a line, of which the first says what the others are about. A line that was not written to its end when
the process died is dropped; the ones before it are good.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from chatbot.errors import RejoinderError

FORMAT: Final = 1


class Journal:
    """An open journal: rows are appended in the order of the contexts."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        """Go on with the journal at `path`, or begin it, about the work that `about` describes.

        Raises RejoinderError when it is about other work, naming what differs, or cannot be read or written.
        """
        self._path = path
        try:
            self._file = path.open("ab")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found = read_about(path)
                if found is None:
                    self._file.truncate(0)
                    self._file.write(json.dumps({"format": FORMAT, **about}).encode() + b"\n")
                    self._file.flush()
                else:
                    check_about(path, found, about)
                self.done = _keep_whole_lines(path) - 1
            except BaseException:
                self._file.close()
                raise
        except BlockingIOError:
            raise RejoinderError(f"{path}: another run is writing it just now") from None
        except OSError as error:
            raise RejoinderError(f"{path}: cannot be written ({error.strerror})") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *fault: object) -> None:
        self._file.close()

    def add(self, row: str) -> None:
        """Append a row."""
        self._file.write(row.encode() + b"\n")
        self.done += 1

    def flush(self) -> None:
        """Hand what was added to the system: from here on it survives the process."""
        self._file.flush()

    def sync(self) -> None:
        """See to it that it survives the machine, too."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def rows(self) -> Iterator[str]:
        """Yield the rows."""
        self._file.flush()
        with self._path.open(encoding="utf-8", newline="\n") as file:
            next(file)
            for line in file:
                yield line.rstrip("\n")


def read_about(path: Path) -> dict[str, Any] | None:
    """Return what the journal at `path` is about; None when there is none. Raises RejoinderError."""
    try:
        with path.open("rb") as file:
            first = file.readline()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RejoinderError(f"{path}: cannot be read ({error.strerror})") from None
    if not first.endswith(b"\n"):  # killed while it was begun
        return None
    try:
        found = json.loads(first)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise RejoinderError(f"{path}: in the way, and not a journal of this version; delete it to begin anew")
    return found


def check_about(path: Path, found: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Raise RejoinderError, naming what differs, when the journal at `path` was `found` to be about other work."""
    differing = [name for name, value in about.items() if found.get(name) != value]
    if differing:
        raise RejoinderError(
            f"{path}: an interrupted run wrote this, and since then changed: {', '.join(differing)}."
            " Run it as it was to go on, or delete that file to begin anew"
        )


def _keep_whole_lines(path: Path) -> int:
    """Cut the journal behind its last good line, and return how many there are."""
    count = end = 0
    with path.open("r+b") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                json.loads(line)
            except (ValueError, RecursionError):
                break
            count += 1
            end += len(line)
        file.truncate(end)
    return count
