"""Running it, as an operator does: the log, the numbers, the doctor, a backup beside the running service."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import httpx
import pytest

from tests.system.conftest import Rejoinder, Service

GOLDEN = Path(__file__).parents[1] / "golden"
SAID = "how are you, my secret?"

Serve = Callable[..., AbstractContextManager[Service]]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "recurrent").symlink_to(GOLDEN / "recurrent")
    return folder


def test_a_service_is_watched_and_backed_up_while_it_is_rated(
    serve: Serve, rejoinder: Rejoinder, models: Path, tmp_path: Path
) -> None:
    state, again = tmp_path / "state", tmp_path / "again"
    stop = threading.Event()
    rated = 0
    with serve(models, state, REJOINDER_PRECISION="fp32") as service, httpx.Client(base_url=service.address) as client:

        def rate() -> None:
            nonlocal rated
            while not stop.is_set():
                body = {"model": "recurrent", "messages": [{"role": "user", "content": SAID}]}
                reply = client.post("/v1/chat/completions", json=body, timeout=30).json()
                stored = client.post("/v1/ratings", json={"reply_id": reply["id"], "thumb": 1, "comment": SAID})
                assert stored.status_code == 201
                rated += 1

        rater = threading.Thread(target=rate)
        rater.start()
        try:
            while rated < 5:
                assert rater.is_alive()
                time.sleep(0.05)
            before = rated
            done = rejoinder("backup", "--state", state, "--out", tmp_path / "backup.tar")
            after = rated + 1
            examined = rejoinder(
                "doctor", "--json", "--models", models, "--state", state, "--port", service.address[17:]
            )
        finally:
            stop.set()
            rater.join(60)
        numbers = client.get("/metrics").text
    assert done.returncode == 0, done.stderr
    assert after > before  # it went on meanwhile
    report = json.loads(examined.stdout)
    assert examined.returncode == 0, report
    found = {one["name"]: one["found"] for one in report["findings"]}
    assert "Rejoinder is there and ready" in found["port"]
    assert f'rejoinder_ratings_total{{kind="thumb",value="1"}} {float(rated)}' in numbers

    restored = rejoinder("restore", tmp_path / "backup.tar", "--state", again)
    assert restored.returncode == 0, restored.stderr
    with closing(sqlite3.connect(again / "rejoinder.db")) as connection:
        [[count]] = connection.execute("select count(*) from judgement").fetchall()
        assert before <= count <= after
        assert connection.execute("pragma foreign_key_check").fetchall() == []
    with serve(models, again) as service:
        ratings = httpx.get(f"{service.address}/v1/ratings", params={"limit": 100}).json()["data"]
        assert len(ratings) == min(count, 100)

    first, *lines = service_lines(state)
    assert first.startswith("Rejoinder serves recurrent")
    requests = [json.loads(line) for line in lines]
    assert {one["event"] for one in requests} == {"request"}
    answered = [one for one in requests if one["route"] == "/v1/chat/completions"]
    assert len(answered) >= rated
    assert all(one["model"] == "recurrent" and one["tokens"] > 0 and one["request_id"] for one in answered)
    assert "secret" not in "".join(lines)


def service_lines(state: Path) -> list[str]:
    [log] = state.parent.glob(f"{state.name}-*.log")
    return log.read_text(encoding="utf-8").splitlines()


def test_a_cut_backup_ends_with_one_line(rejoinder: Rejoinder, tmp_path: Path) -> None:
    (tmp_path / "cut.tar").write_bytes(b"\0" * 700)
    done = rejoinder("restore", tmp_path / "cut.tar", "--state", tmp_path / "new")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "rejoinder: " in done.stderr


def test_the_doctor_ends_with_1_when_something_is_missing(rejoinder: Rejoinder, tmp_path: Path) -> None:
    done = rejoinder("doctor", "--models", tmp_path / "none", "--state", tmp_path / "state", "--port", "0")
    assert done.returncode == 1
    assert "FAIL  models: " in done.stdout
    assert "      -> " in done.stdout
