"""The program as its users call it: the command line in processes of its own, the service over HTTP."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.postgres import new_database, postgres

__all__ = ["postgres"]

PROGRAM = [sys.executable, str(Path(__file__).parents[2] / "rejoinder.py")]

Rejoinder = Callable[..., "subprocess.CompletedProcess[str]"]


def call(
    *arguments: str | Path, environment: dict[str, str] | None = None, patience: float = 300
) -> "subprocess.CompletedProcess[str]":
    """Run the command line to its end and return what it said."""
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
    )


@pytest.fixture(scope="session")
def rejoinder() -> Rejoinder:
    return call


@dataclass(frozen=True)
class Service:
    """A running `rejoinder serve`."""

    address: str
    process: "subprocess.Popen[str]"
    log: Path
    """What it wrote to standard output and standard error."""
    database_url: str | None = None
    """Where it is not its own file in the state directory."""


Serve = Callable[..., contextlib.AbstractContextManager[Service]]
Replicas = Callable[..., contextlib.AbstractContextManager[list[Service]]]


@contextlib.contextmanager
def serving(models: Path | None, state: Path, **variables: str) -> Iterator[Service]:
    """Run the service until the block ends, then ask it to stop as a process manager would."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = ["serve", "--state", str(state), "--port", str(port)]
    if models is not None:
        arguments += ["--models", str(models)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "REJOINDER_DRAIN_SECONDS": "0", **variables}
    log = state.with_name(f"{state.name}-{port}.log")
    with (
        log.open("w") as output,  # a file, which unlike a pipe takes any number of lines that nobody reads
        subprocess.Popen(
            [*PROGRAM, *arguments], stdout=output, stderr=subprocess.STDOUT, text=True, env=environment
        ) as process,
    ):
        service = Service(f"http://127.0.0.1:{port}", process, log, variables.get("REJOINDER_DATABASE_URL"))
        try:
            _wait_until_ready(service)
            yield service
        finally:
            process.terminate()
            process.wait(60)


def _wait_until_ready(service: Service) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if service.process.poll() is not None:
            pytest.fail(f"the service ended with {service.process.returncode}: {service.log.read_text()}")
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{service.address}/health/ready").status_code == 200:
                return
        time.sleep(0.1)
    pytest.fail("the service was not ready within two minutes")


@pytest.fixture(scope="session")
def dialogues(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a JSONL file of 300 small dialogues, English and Chinese, with one line that is broken."""
    path = tmp_path_factory.mktemp("source") / "dialogues.jsonl"
    animals, numbers = ["cat", "dog", "bird", "fish", "猫", "狗"], ["one", "two", "three", "四", "五"]
    lines = []
    for i in range(300):
        animal, number = animals[i % len(animals)], numbers[i % len(numbers)]
        turns = [
            f"Do you like my {animal}? ({i})",
            f"I like your {animal}.",
            f"I have {number}.",
            f"{number} is a lot.",
        ]
        lines.append(json.dumps({"id": i, "turns": turns, "license": "CC0-1.0"}, ensure_ascii=False))
    lines.insert(7, '{"turns": ["never closed')
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def prepared(dialogues: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "data"
    done = call("prepare", dialogues, "--out", out, "--vocabulary", "320", "--valid", "0.1", "--test", "0.1")
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def runs(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the runs `mle` and `cseqgan`, the second begun from the first."""
    directory = tmp_path_factory.mktemp("runs")
    first = call("train", "mle", "--data", prepared, "--out", directory / "mle", "--preset", "toy")
    assert first.returncode == 0, first.stderr
    start = f"start={directory / 'mle' / 'bundle'}"
    arguments = ["--data", prepared, "--out", directory / "cseqgan", "--preset", "toy", "--set", start]
    second = call("train", "cseqgan", *arguments)
    assert second.returncode == 0, second.stderr
    return directory


@pytest.fixture(scope="session")
def models(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory of two bundles as the service takes it."""
    directory = tmp_path_factory.mktemp("models")
    for name in ("mle", "cseqgan"):
        (directory / name).symlink_to(runs / name / "bundle", target_is_directory=True)
    return directory


@pytest.fixture(scope="session")
def serve() -> Serve:
    return serving


@pytest.fixture
def two_replicas(models: Path, tmp_path: Path, postgres: str) -> Replicas:
    """Give what runs two replicas that share a state directory and a PostgreSQL database without tables."""

    @contextlib.contextmanager
    def two_replicas(**variables: str) -> Iterator[list[Service]]:
        variables = {"REJOINDER_TAKEOVER_SECONDS": "2", **variables, "REJOINDER_DATABASE_URL": new_database(postgres)}
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(serving(models, tmp_path / "state", **variables)) for _ in range(2)]

    return two_replicas
