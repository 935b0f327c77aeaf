"""`serve` and `migrate`: what they check first, and what they import."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest

from app import commands
from app.commands import migrate, serve
from chatbot.errors import RejoinderError

ROOT = Path(__file__).parents[2]


def python(source: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_importing_the_commands_imports_nothing_heavy() -> None:
    with python(
        "import sys, app.commands; print(sorted({'torch','fastapi','sqlalchemy','pydantic'} & set(sys.modules)))"
    ) as child:
        out, err = child.communicate(timeout=60)
    assert (out.strip(), err) == ("[]", "")


def test_the_service_can_be_imported_without_torch_or_side_effects(tmp_path: Path) -> None:
    source = f"""
        import os, sys
        os.chdir({str(tmp_path)!r})
        import app.main, app.migration
        from app.settings import Settings
        app.main.create_app(Settings())
        print("torch" in sys.modules, os.listdir("."))
    """
    with python(source, PYTHONPATH=str(ROOT)) as child:
        out, err = child.communicate(timeout=60)
    assert (out.strip(), err) == ("False []", "")


def test_a_missing_models_directory_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RejoinderError, match="no such directory"):
        serve(models=tmp_path / "none", state=tmp_path)


def test_a_guard_that_cannot_be_set_up_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REJOINDER_GUARD_HOOK", "nothing_there:check")
    with pytest.raises(RejoinderError, match="guard_hook: 'nothing_there:check' cannot be loaded"):
        serve(models=tmp_path, state=tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RejoinderError, match=f"cannot listen on 127.0.0.1 port {port}"):
            serve(models=tmp_path, host="127.0.0.1", port=port, state=tmp_path / "state")


def test_a_bad_setting_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REJOINDER_BATCH_SIZE", "many")
    with pytest.raises(RejoinderError, match="REJOINDER_BATCH_SIZE"):
        serve(models=tmp_path)
    monkeypatch.delenv("REJOINDER_BATCH_SIZE")
    with pytest.raises(RejoinderError, match="REJOINDER_PORT"):
        serve(models=tmp_path, port=70_000)


def test_migrate_makes_the_tables(tmp_path: Path) -> None:
    migrate(state=tmp_path / "state")
    with sqlite3.connect(tmp_path / "state" / "rejoinder.db") as connection:
        tables = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
    connection.close()
    assert {"response", "judgement", "alembic_version"} <= tables


def test_serve_says_where_answers_and_ends_on_sigterm(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    source = "import sys; from pathlib import Path; from app.commands import serve; serve(Path(sys.argv[1]), port=0)"
    child = subprocess.Popen(
        [sys.executable, "-c", source, str(tmp_path / "models")],
        cwd=tmp_path,
        env={**os.environ, "REJOINDER_STATE": str(tmp_path / "state")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line.startswith("Rejoinder serves no model yet at http://127.0.0.1:")
        address = line.split()[-1]
        assert httpx.get(f"{address}/health/live", timeout=20).json() == {"status": "alive"}
        assert httpx.get(f"{address}/health/ready").status_code == 503
        assert "rejoinder serve --models" in httpx.get(address).text
        places = places_of_threads(child.pid) if sys.platform.startswith("linux") else 0
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=20)
    lines = [json.loads(line) for line in err.splitlines()]
    assert out == ""
    assert [(line["event"], line["route"], line["status"]) for line in lines] == [("request", "/", 200)]
    assert (tmp_path / "state" / "rejoinder.db").exists()
    assert places == 0  # else they fill with what others free: see `chatbot.memory`


def places_of_threads(pid: int) -> int:
    """Return how many places glibc keeps for memory of single threads: each has 64 MB of addresses and uses few."""
    starts = {}
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
        addresses, permissions, *rest = line.split()
        first, end = (int(number, 16) for number in addresses.split("-"))
        if len(rest) < 4:  # no file's
            starts[first] = (end, permissions)
    size = 64 * 2**20
    return sum(
        first % size == 0 and permissions == "rw-p" and starts.get(end) == (first + size, "---p")
        for first, (end, permissions) in starts.items()
    )


def test_the_database_is_migrated_once(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    source = f"""
        from pathlib import Path
        from alembic import command
        from app.commands import serve
        upgrade = command.upgrade
        def counted(*arguments):
            print("migrates", flush=True)
            upgrade(*arguments)
        command.upgrade = counted
        serve(Path({str(tmp_path / "models")!r}), host="0.0.0.0", port=0, state=Path({str(tmp_path / "state")!r}))
    """
    with python(source, PYTHONPATH=str(ROOT), REJOINDER_DRAIN_SECONDS="0") as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(3)]
        child.send_signal(signal.SIGTERM)
        rest, _ = child.communicate(timeout=20)
    assert said[0] == "migrates\n"
    assert said[1].startswith("Rejoinder serves no model yet at ")
    assert "it needs keys" in said[2]
    assert rest == ""


def test_no_answer_waits_for_its_first_packet_to_be_acknowledged() -> None:
    with commands.listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("host", "said"), [("0.0.0.0", "localhost"), ("::", "localhost"), ("::1", "[::1]"), ("10.0.0.1", "10.0.0.1")]
)
def test_an_address_is_told_as_a_browser_takes_it(host: str, said: str) -> None:
    assert commands.shown(host) == said
