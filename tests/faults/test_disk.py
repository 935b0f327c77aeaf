"""A full disk: who asks is told so, nothing is half written, what was promised is there, and with room all goes on."""

import hashlib
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.conftest import Disk
from tests.system.batch import FIXED, URL, begin, check, client_of, lines_of, until_answered
from tests.system.conftest import PROGRAM, Service, call

Serve = Callable[..., AbstractContextManager[Service]]


def ask(client: httpx.Client, seed: int = 0) -> httpx.Response:
    body = {"model": "recurrent", "messages": [{"role": "user", "content": "how are you?"}], "seed": seed}
    return client.post(URL, json=body)


def code_of(response: httpx.Response) -> str:
    assert response.status_code == 503, response.text
    code: str = response.json()["error"]["code"]
    return code


def test_ratings_and_uploads_are_refused_while_there_is_no_room(serve: Serve, models: Path, disk: Disk) -> None:
    with (
        disk(96) as small,  # less than 64 MiB, and the service would not call itself ready
        serve(models, small.path / "state", **FIXED) as service,
        httpx.Client(base_url=service.address, timeout=60) as client,
    ):
        reply = ask(client).json()["choices"][0]["reply_id"]
        upload: dict[str, Any] = {"data": {"purpose": "batch"}, "files": {"file": ("a.jsonl", b"x" * 2**20)}}
        small.fill()

        acknowledged = []
        for number in range(3000):  # the database's log may have some room of its own
            rating = {"reply_id": reply, "thumb": 1, "comment": f"{number} " + "x" * 900}
            response = client.post("/v1/ratings", json=rating)
            if response.status_code != 201:
                break
            acknowledged.append(response.json()["id"])
        assert code_of(response) == "database_unavailable"
        assert "nothing was stored" in response.json()["error"]["message"]
        assert code_of(ask(client, 1)) == "database_unavailable"
        assert code_of(client.post("/v1/files", **upload)) == "storage"
        files = small.path / "state" / "files"
        assert not files.exists() or not list(files.iterdir())
        assert client.get("/v1/models").status_code == 200  # what needs no room is served

        small.free()
        assert client.post("/v1/ratings", json=rating).status_code == 201
        assert ask(client, 1).status_code == 200
        assert client.post("/v1/files", **upload).status_code == 200
        stored: list[int] = []
        while True:
            query = {"limit": 100, **({"after": stored[-1]} if stored else {})}
            page = client.get("/v1/ratings", params=query).json()
            stored += [one["id"] for one in page["data"]]
            if not page["has_more"]:
                break
        assert sorted(stored)[:-1] == sorted(acknowledged)  # and the one that was given again


def test_a_batch_waits_for_room_and_loses_nothing(serve: Serve, models: Path, tmp_path: Path, disk: Disk) -> None:
    count = 600
    variables = {**FIXED, "REJOINDER_BATCH_SIZE": "8"}  # so that it lasts a while
    with serve(models, tmp_path / "undisturbed", **variables) as service, client_of(service) as client:
        expected = check(client, begin(client, lines_of(count)), count)
    with (
        disk(96) as small,  # less than 64 MiB, and the service would not call itself ready
        serve(models, small.path / "state", **variables) as service,
        client_of(service) as client,
    ):
        batch_id = begin(client, lines_of(count))
        until_answered(client, batch_id, 1)
        small.fill()
        time.sleep(4)
        batch = client.batches.retrieve(batch_id)
        assert batch.status in ("in_progress", "finalizing")
        assert batch.request_counts is not None
        assert batch.request_counts.completed < count
        small.free()
        assert check(client, batch_id, count) == expected


def weights(run: Path) -> str:
    return hashlib.sha256((run / "bundle" / "generator.safetensors").read_bytes()).hexdigest()


SETTINGS = ("--preset", "toy", "--set", "save_every=3", "--set", "mle.steps=90", "--set", "mle.evaluate_every=30")


@pytest.fixture(scope="session")
def undisturbed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a run that nothing happened to."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    done = call("train", "mle", "--data", prepared, "--out", out, *SETTINGS)
    assert done.returncode == 0, done.stderr
    return out


def test_training_ends_with_one_line_and_goes_on_when_there_is_room(
    prepared: Path, undisturbed: Path, disk: Disk
) -> None:
    with disk(64) as small:
        out = small.path / "run"
        command = [*PROGRAM, "train", "mle", "--data", str(prepared), "--out", str(out), *SETTINGS]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
        ) as process:
            end = time.monotonic() + 120
            while not (out / "state.pt").exists():
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.01)
            small.fill()
            _, said = process.communicate(timeout=120)
        assert process.returncode == 1, said
        assert said.strip().splitlines()[-1].startswith("rejoinder: ")
        assert "No space left on device" in said
        assert "--resume" in said
        assert "Traceback" not in said
        assert not list(out.glob(".*"))  # nothing half written

        small.free()
        again = call("train", "--resume", "--out", out)
        assert again.returncode == 0, again.stderr
        assert weights(out) == weights(undisturbed)


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "OMP_NUM_THREADS": "1"}


def test_preparing_and_answering_a_file_leave_nothing_half_written(dialogues: Path, disk: Disk, tmp_path: Path) -> None:
    contexts = tmp_path / "contexts.jsonl"
    contexts.write_text("".join(f'{{"text": "how are you, {i}?"}}\n' for i in range(200)), encoding="utf-8")
    golden = Path(__file__).parents[1] / "golden" / "recurrent"
    with disk(8) as small:
        small.fill()
        data = small.path / "data"
        replies = small.path / "replies.jsonl"
        for arguments in (
            ("prepare", dialogues, "--out", data, "--vocabulary", "320"),
            ("generate", "--model", golden, "--in", contexts, "--out", replies),
        ):
            done = call(*arguments)
            assert done.returncode == 1, done.stderr
            assert done.stderr.strip().splitlines()[-1].startswith("rejoinder: ")
            assert "No space left on device" in done.stderr
            assert "Traceback" not in done.stderr
        assert not data.exists()
        assert not replies.exists()
        small.free()
        assert call("prepare", dialogues, "--out", data, "--vocabulary", "320").returncode == 0
        assert call("generate", "--model", golden, "--in", contexts, "--out", replies).returncode == 0
        assert len(replies.read_bytes().splitlines()) == 200
