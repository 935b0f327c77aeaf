"""The real parts that faults happen to: services in processes, a corpus, a disk that is soon full."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from tests.postgres import postgres
from tests.system.conftest import dialogues, prepared, serving, two_replicas

__all__ = ["dialogues", "postgres", "prepared", "two_replicas"]

GOLDEN = Path(__file__).parents[1] / "golden"

Disk = Callable[[int], AbstractContextManager["SmallDisk"]]


class SmallDisk:
    """A file system of few bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        """Take all the room that there is."""
        with suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while True:
                for size in (65536, 4096, 1):
                    with suppress(OSError):
                        while file.write(b"x" * size) == size:
                            pass
                file.write(b"x")  # raises when there is none left

    def free(self) -> None:
        """Give the room back."""
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """Give what mounts a file system of some MiB."""

    @contextmanager
    def disk(mebibytes: int) -> Iterator[SmallDisk]:
        path = tmp_path / "disk"
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(path)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("file systems cannot be mounted here")
        try:
            yield SmallDisk(path)
        finally:
            subprocess.run(["umount", "-l", str(path)], check=True)

    return disk


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Give a directory with one bundle, `recurrent`."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "recurrent").symlink_to(GOLDEN / "recurrent")
    return folder


@pytest.fixture(scope="session")
def serve() -> "Callable[..., AbstractContextManager[object]]":
    """Give what runs the service in a process of its own."""
    return serving
