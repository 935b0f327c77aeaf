"""What `rejoinder backup` and `rejoinder restore` do."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.backup.archive import DUMP, FILES, SQLITE, WORKFLOWS, BackupError, Manifest, extract, writing
from app.backup.databases import can_dump, check_sqlite, copy_sqlite, dump_postgres
from app.commands import read_settings
from app.database import now, open_engine
from app.files.repository import all_ids
from app.files.storage import Storage
from app.migration import revision_of, revisions
from app.monitoring.service import rejoinder_version
from chatbot.errors import RejoinderError


def backup(out: Path, **where: Any) -> str:
    """Write all that the service keeps to the file `out` while it runs, and return what to say.

    Raises RejoinderError when the database cannot be read or `out` cannot be written.
    """
    settings = read_settings(**where)
    url = sa.make_url(settings.database)
    kind = "sqlite" if url.get_backend_name() == "sqlite" else "postgresql"
    remarks = []
    # The copies lie beside the backup, where there must be room for them anyway.
    with writing(out) as writer, tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        folder = Path(scratch)
        if kind == "sqlite":
            source = _file_of(url)
            # First the books of the batches: what they do not know of is done again, what they know too early is lost.
            for name, path in ((WORKFLOWS, settings.state / WORKFLOWS), (SQLITE, source)):
                if path.exists():
                    copy_sqlite(path, folder / name)
                    writer.add(name, folder / name)
            known = f"sqlite:///{folder / SQLITE}"
        else:
            known = settings.database
            if can_dump():
                dump_postgres(url, folder / DUMP)
                writer.add(DUMP, folder / DUMP)
            else:
                remarks.append(
                    "the database itself is NOT in it, since pg_dump is not on this machine;"
                    " on one that has it: pg_dump --format=custom --no-owner --file=database.dump, then keep both"
                )
        schema, file_ids = _look(known)
        gone = 0
        storage = Storage(settings.state / FILES)
        for file_id in file_ids:
            try:
                writer.add(f"{FILES}/{file_id}", storage.path(file_id))
            except FileNotFoundError:  # deleted since, or not on this machine
                gone += 1
        if gone:
            remarks.append(f"{gone} files that the database names were not there: deleted just now, or elsewhere")
        writer.finish(Manifest(rejoinder_version(), now().isoformat(timespec="seconds"), kind, schema))
    size = out.stat().st_size / 2**20
    said = f"{out}: {len(file_ids) - gone} files and the database at schema {schema}, {size:.1f} MiB"
    return "\n".join([said, *remarks])


def restore(archive: Path, state: Path) -> str:
    """Put what is in `archive` at the directory `state`, whole or not at all, and return what to say.

    Raises RejoinderError when `state` is not empty, or the archive is damaged or of a newer version.
    """
    state = state.absolute()
    if state.exists() and not (state.is_dir() and not any(state.iterdir())):
        raise BackupError(f"{state}: is not empty; restore into a new directory, and move it into place")
    try:
        state.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".restoring.", dir=state))  # inside: it may be a volume of its own
    except OSError as error:
        raise BackupError(f"{state}: cannot be written ({error.strerror})") from None
    try:
        manifest = extract(archive, fresh)
        if manifest.schema is not None and manifest.schema not in revisions():
            raise BackupError(
                f"{archive}: its schema {manifest.schema} is of a newer Rejoinder ({manifest.version}); upgrade first"
            )
        for name in (SQLITE, WORKFLOWS):
            if (fresh / name).exists():
                check_sqlite(fresh / name)
        for path in sorted(fresh.iterdir(), key=lambda one: one.name == SQLITE):  # last what makes it a state
            path.rename(state / path.name)
    except OSError as error:
        raise BackupError(f"{state}: cannot be put in place ({error.strerror or error})") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    said = f"{state}: {len(manifest.files)} files of {manifest.created_at} by Rejoinder {manifest.version}"
    if (state / DUMP).exists():
        said += (
            "\nnow, into an empty database:"
            f"\n  pg_restore --no-owner --single-transaction --dbname=postgresql://... {state / DUMP}"
        )
    elif manifest.database == "postgresql":
        said += "\nthe database is not in it: restore it from where your server's backups are"
    return said


def _look(url: str) -> tuple[str | None, list[str]]:
    """Return the revision of the database at `url`, and the ids of its files. Raises RejoinderError."""
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            schema = revision_of(connection)
            return schema, [] if schema is None else all_ids(connection)
    except sa.exc.DatabaseError as error:
        reason = (str(error.orig).strip().splitlines() or ["no reason given"])[0]
        raise RejoinderError(f"the database cannot be read: {reason}") from error
    finally:
        engine.dispose()


def _file_of(url: sa.URL) -> Path:
    path = Path(url.database or "")
    if not path.is_file():
        raise BackupError(f"{path}: there is no database; name the service's directory with --state")
    return path
