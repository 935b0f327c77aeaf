"""The file of a backup: a tar whose last member is a list of all others with their digests.

So a file that was cut off, or changed, is recognised before anything of it is used. Knows files, and no database.
"""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from chatbot.errors import RejoinderError

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
SQLITE: Final = "rejoinder.db"
WORKFLOWS: Final = "workflows.db"
DUMP: Final = "database.dump"
FILES: Final = "files"

_NAME: Final = re.compile(r"rejoinder\.db|workflows\.db|database\.dump|files/[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""The only names there are: none leads out of the directory."""
_PIECE: Final = 2**20
_LARGEST_MANIFEST: Final = 2**28


class BackupError(RejoinderError):
    """A backup cannot be written, or is not what it should be."""


@dataclass
class Manifest:
    """What a backup says of itself."""

    version: str
    """Of Rejoinder."""
    created_at: str
    database: str
    """sqlite or postgresql."""
    schema: str | None
    """The revision of the database's schema."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """For each member its `sha256` and `bytes`."""


@contextmanager
def writing(path: Path) -> Iterator["Writer"]:
    """Give a writer of a backup, which is at `path` once `finish` was called and the block ended; else nothing is.

    Raises BackupError when there is a file already or it cannot be written.
    """
    if path.exists():
        raise BackupError(f"{path}: is there already; a backup never replaces a file")
    draft = path.with_name(f".{path.name}.part")
    try:
        with draft.open("wb") as file:
            draft.chmod(0o600)  # it holds conversations
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                yield Writer(tar)
        draft.rename(path)
    except OSError as error:
        raise BackupError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        draft.unlink(missing_ok=True)


class Writer:
    """Adds files to a backup."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._files: dict[str, dict[str, Any]] = {}

    def add(self, name: str, path: Path) -> None:
        """Add the file at `path` as `name`. Raises FileNotFoundError when it is gone."""
        assert _NAME.fullmatch(name), name
        with path.open("rb") as content:
            member = tarfile.TarInfo(name)
            member.size = path.stat().st_size
            member.mode = 0o600
            counted = _Counted(content)
            self._tar.addfile(member, counted)  # all that it asks for is `read`
        self._files[name] = {"sha256": counted.digest.hexdigest(), "bytes": member.size}

    def finish(self, manifest: Manifest) -> None:
        """Add what says that it is whole."""
        manifest.files = self._files
        content = json.dumps({"format": FORMAT, **vars(manifest)}, indent=1).encode()
        member = tarfile.TarInfo(MANIFEST)
        member.size, member.mode = len(content), 0o600
        self._tar.addfile(member, io.BytesIO(content))


class _Counted:
    """A file of which all that is read is put into a digest."""

    def __init__(self, content: IO[bytes]) -> None:
        self._content = content
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._content.read(size)
        self.digest.update(piece)
        return piece


def extract(path: Path, folder: Path) -> Manifest:
    """Write the members of the backup at `path` into the empty directory `folder`, all verified.

    Raises BackupError when it is no backup, incomplete or altered; what was written by then is of no use.
    """
    found: dict[str, dict[str, Any]] = {}
    manifest: dict[str, Any] | None = None
    try:
        with tarfile.open(path, mode="r|") as tar:  # read once, from front to back; nothing is looked for by position
            for member in tar:
                if manifest is not None:
                    raise BackupError(f"{path}: {member.name[:100]!r} comes after the list of contents; it was altered")
                content = tar.extractfile(member) if member.isreg() else None
                if content is None:
                    raise BackupError(
                        f"{path}: {member.name[:100]!r} is no plain file; it was altered, or is no backup"
                    )
                if member.name == MANIFEST:
                    manifest = _manifest(path, content.read(_LARGEST_MANIFEST))
                    continue
                if not _NAME.fullmatch(member.name) or member.name in found:
                    raise BackupError(f"{path}: {member.name[:100]!r} does not belong into a backup")
                found[member.name] = _copy(content, folder / member.name)
    except (tarfile.TarError, EOFError) as error:
        raise BackupError(f"{path}: cannot be read to its end ({error}); it was cut off, or is no backup") from None
    except OSError as error:
        raise BackupError(f"{path}: cannot be restored to {folder.parent} ({error.strerror or error})") from None
    if manifest is None:
        raise BackupError(f"{path}: its list of contents is missing; it was cut off, or is no backup")
    _compare(path, manifest["files"], found)
    return Manifest(**manifest)


def _copy(content: IO[bytes], target: Path) -> dict[str, Any]:
    target.parent.mkdir(exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with target.open("xb") as file:
        target.chmod(0o600)
        while piece := content.read(_PIECE):
            file.write(piece)
            digest.update(piece)
            size += len(piece)
    return {"sha256": digest.hexdigest(), "bytes": size}


def _manifest(path: Path, content: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
        number = manifest.pop("format")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise BackupError(f"{path}: its list of contents cannot be read; it was altered, or is no backup") from None
    if number != FORMAT:
        raise BackupError(f"{path}: backup format {number!r:.20}, this version of Rejoinder reads {FORMAT}")
    kinds = {"version": str, "created_at": str, "database": str, "schema": str | None, "files": dict}
    if manifest.keys() != kinds.keys() or not all(isinstance(manifest[name], kinds[name]) for name in kinds):
        raise BackupError(f"{path}: its list of contents is not one of Rejoinder's")
    return dict(manifest)


def _compare(path: Path, named: dict[str, Any], found: dict[str, dict[str, Any]]) -> None:
    if missing := sorted(named.keys() - found.keys()):
        raise BackupError(f"{path}: {missing[0][:100]!r} is missing; it was altered")
    for name, facts in found.items():
        if named.get(name) != facts:
            raise BackupError(f"{path}: {name} is not what the list of contents says (sha256 or length differs)")
