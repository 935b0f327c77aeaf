"""Batches outlive the processes that work at them: killed without a word, and nobody can tell from the files."""

import json
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.postgres import execute, postgres, with_database
from tests.system.conftest import Service

__all__ = ["postgres"]

GOLDEN = Path(__file__).parents[1] / "golden"
URL = "/v1/chat/completions"

FIXED = {"REJOINDER_PRECISION": "fp32"}
"""By default it is measured which is fastest, and a seed repeats where the precision is the same."""

Serve = Callable[..., AbstractContextManager[Service]]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "recurrent").symlink_to(GOLDEN / "recurrent")
    return folder


def lines_of(count: int) -> list[bytes]:
    """Return that many lines; the third of each hundred is broken."""
    rows = []
    for i in range(count):
        body = {
            "model": "recurrent",
            "messages": [{"role": "user", "content": f"how are you, {i}?"}],
            "temperature": 1.5,
        }
        row = {"custom_id": f"line {i}", "method": "POST", "url": URL, "body": body}
        rows.append(b"{broken" if i % 100 == 2 else json.dumps(row).encode())
    return rows


def begin(client: OpenAI, lines: list[bytes]) -> str:
    file = client.files.create(file=("requests.jsonl", b"\n".join(lines)), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint=URL, completion_window="24h", extra_body={"seed": 11}
    ).id


def until_answered(client: OpenAI, batch_id: str, count: int) -> int:
    """Wait until that many lines are answered, and return how many there are."""
    end = time.monotonic() + 120
    while True:
        batch = client.batches.retrieve(batch_id)
        assert batch.request_counts is not None
        answered = batch.request_counts.completed + batch.request_counts.failed
        if answered >= count:
            return answered
        assert time.monotonic() < end, batch
        time.sleep(0.02)


def until_done(client: OpenAI, batch_id: str, seconds: float = 300) -> Any:
    end = time.monotonic() + seconds
    while (batch := client.batches.retrieve(batch_id)).status != "completed":
        assert batch.status in ("validating", "in_progress", "finalizing"), batch
        assert time.monotonic() < end, batch
        time.sleep(0.1)
    return batch


def check(client: OpenAI, batch_id: str, count: int) -> list[tuple[str, str]]:
    """See that every line is answered once and in order, and return the replies."""
    batch = until_done(client, batch_id)
    output = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    errors = [json.loads(line) for line in client.files.content(batch.error_file_id).text.splitlines()]
    assert [row["custom_id"] for row in output] == [f"line {i}" for i in range(count) if i % 100 != 2]
    assert [row["error"]["line"] for row in errors] == list(range(3, count + 1, 100))
    assert (batch.request_counts.completed, batch.request_counts.failed) == (len(output), len(errors))
    return [(row["custom_id"], row["response"]["body"]["choices"][0]["message"]["content"]) for row in output]


def client_of(service: Service) -> OpenAI:
    return OpenAI(base_url=f"{service.address}/v1", api_key="none", timeout=60)


@pytest.mark.parametrize("count", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_killed_half_way_a_batch_is_finished_as_if_nothing_had_happened(
    serve: Serve, models: Path, tmp_path: Path, count: int
) -> None:
    lines = lines_of(count)
    with serve(models, tmp_path / "undisturbed", **FIXED) as service, client_of(service) as client:
        expected = check(client, begin(client, lines), count)
    assert len({text for _, text in expected}) > 10

    state, variables = tmp_path / "killed", {**FIXED, "REJOINDER_TAKEOVER_SECONDS": "1.5"}
    answered = 0
    with serve(models, state, **variables) as service, client_of(service) as client:
        batch_id = begin(client, lines)
        until_answered(client, batch_id, 1)
        service.process.kill()
        service.process.wait(10)
    if count > 200:  # and again, and again
        for part in (0.3, 0.7):
            with serve(models, state, **variables) as service, client_of(service) as client:
                answered = until_answered(client, batch_id, int(part * count))
                service.process.kill()
                service.process.wait(10)
    with serve(models, state, **variables) as service, client_of(service) as client:
        before = client.batches.retrieve(batch_id)
        assert before.status in ("validating", "in_progress")
        assert answered < count
        assert check(client, batch_id, count) == expected


@pytest.mark.slow
def test_of_two_replicas_one_is_killed_and_the_other_finishes(
    serve: Serve, models: Path, tmp_path: Path, postgres: str
) -> None:
    """Four batches, two made at each replica; the first replica dies while it is at some of them."""
    count = 1500
    lines = lines_of(count)
    with serve(models, tmp_path / "undisturbed", **FIXED) as service, client_of(service) as client:
        expected = check(client, begin(client, lines), count)

    name = f"test_{uuid.uuid4().hex}"
    execute(postgres, f"CREATE DATABASE {name}")
    url = with_database(postgres, name)
    variables = {**FIXED, "REJOINDER_DATABASE_URL": url, "REJOINDER_TAKEOVER_SECONDS": "2"}
    with ExitStack() as stack:
        replicas = [stack.enter_context(serve(models, tmp_path / "state", **variables)) for _ in range(2)]
        first, second = [stack.enter_context(client_of(replica)) for replica in replicas]
        ids = [begin(client, lines) for client in (first, second, first, second)]
        for batch_id in ids:
            until_answered(second, batch_id, 64)
        replicas[0].process.kill()
        replicas[0].process.wait(10)
        left = [second.batches.retrieve(batch_id).status for batch_id in ids]
        assert "in_progress" in left
        for batch_id in ids:
            assert check(second, batch_id, count) == expected
