"""A directory that appears whole or not at all. Knows names and renames, nothing of what is inside."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.corpus.dataset import read_description
from training.corpus.errors import CorpusError
from training.corpus.layout import REJECTED


def rejected_beside(out: Path) -> Path:
    """Return where the rejected records of a preparation that failed are kept."""
    place = out.resolve()
    return place.with_name(f"{place.name}.{REJECTED}")


@contextmanager
def staged(out: Path, overwrite: bool) -> Iterator[Path]:
    """Give an empty directory beside `out` to write into; it becomes `out` when the block ends without an error.

    On an error nothing is left but `rejected_beside(out)`, if records were rejected. Raises CorpusError when `out`
    exists, unless it is an empty directory, or a prepared dataset and `overwrite` is set; or cannot be written.
    """
    target = out.resolve()
    _check_target(out, target, overwrite)
    staging = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        staging.mkdir(parents=True)
        try:
            yield staging
            _publish(staging, target)
        except BaseException:
            rejected = staging / REJECTED
            if rejected.exists() and rejected.stat().st_size:
                rejected.replace(rejected_beside(out))
            raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        # What an earlier failure left there is not true of this dataset.
        rejected_beside(out).unlink(missing_ok=True)
    except OSError as error:
        raise CorpusError(f"{out}: cannot be written ({error})") from None


def _check_target(out: Path, target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise CorpusError(f"{out}: a file is in the way; expected a directory that does not exist yet")
    if not any(target.iterdir()):
        return
    try:
        read_description(target)
    except CorpusError:
        raise CorpusError(
            f"{out}: exists and is not a prepared dataset; it is left alone, choose another place"
        ) from None
    if not overwrite:
        raise CorpusError(f"{out}: holds a prepared dataset; choose another place, or ask to overwrite it")


def _publish(staging: Path, target: Path) -> None:
    if not target.exists():
        staging.rename(target)
        return
    old = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.replaced")
    target.rename(old)
    try:
        staging.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
