"""The service as it runs: processes, signals, streams."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from tests.system.conftest import Service

GOLDEN = Path(__file__).parents[1] / "golden"

Serve = Callable[..., AbstractContextManager[Service]]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("recurrent", "transformer"):
        (folder / name).symlink_to(GOLDEN / name)
    return folder


def body(seed: int = 0, **more: object) -> dict[str, object]:
    return {"model": "recurrent", "messages": [{"role": "user", "content": "how are you?"}], "seed": seed, **more}


def children(process: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def maps_torch(process: int) -> bool:
    return "libtorch" in Path(f"/proc/{process}/maps").read_text(encoding="utf-8")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc")
def test_http_runs_without_torch_and_the_engine_ends_with_the_service(
    serve: Serve, models: Path, tmp_path: Path
) -> None:
    with serve(models, tmp_path / "state") as service:
        http = service.process.pid
        assert httpx.post(f"{service.address}/v1/chat/completions", json=body(), timeout=30).status_code == 200
        engines = [child for child in children(http) if maps_torch(child)]
        assert engines
        assert not maps_torch(http)
        service.process.kill()  # no chance to say goodbye
        service.process.wait(10)
        end = time.monotonic() + 10
        while any(Path(f"/proc/{engine}").exists() for engine in engines):
            assert time.monotonic() < end, "an engine outlived its service"
            time.sleep(0.05)


def test_term_drains_streams_go_on_to_their_ends(serve: Serve, models: Path, tmp_path: Path) -> None:
    with serve(models, tmp_path / "state", REJOINDER_DRAIN_SECONDS="5") as service:
        results: list[list[str]] = []

        def stream(seed: int) -> None:
            lines = []
            with httpx.stream(
                "POST", f"{service.address}/v1/chat/completions", json=body(seed, stream=True), timeout=30
            ) as response:
                lines = [line for line in response.iter_lines() if line]
            results.append(lines)

        threads = [threading.Thread(target=stream, args=(seed,)) for seed in range(30)]
        for thread in threads:
            thread.start()
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        ready = httpx.get(f"{service.address}/health/ready")
        assert ready.status_code == 503
        assert "the service is stopping" in ready.json()["reasons"]
        # Still taken: who sends requests here needs a moment to notice.
        assert httpx.post(f"{service.address}/v1/chat/completions", json=body(), timeout=30).status_code == 200
        for thread in threads:
            thread.join(30)
        assert len(results) == 30
        assert all(lines[-1] == "data: [DONE]" for lines in results)
        assert service.process.wait(20) in (0, -signal.SIGTERM)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{service.address}/health/live")


def test_the_same_seed_says_the_same_alone_streamed_and_in_a_crowd(serve: Serve, models: Path, tmp_path: Path) -> None:
    with serve(models, tmp_path / "state") as service, httpx.Client(base_url=service.address, timeout=60) as client:

        def ask(seed: int) -> str:
            answer = client.post("/v1/chat/completions", json=body(seed, temperature=1.5)).json()
            return str(answer["choices"][0]["message"]["content"])

        def streamed(seed: int) -> str:
            text = ""
            with client.stream("POST", "/v1/chat/completions", json=body(seed, temperature=1.5, stream=True)) as lines:
                for line in lines.iter_lines():
                    if line.startswith("data: {"):
                        for choice in json.loads(line.removeprefix("data: "))["choices"]:
                            text += choice["delta"].get("content") or ""
            return text

        alone = [ask(seed) for seed in range(40)]
        crowd: dict[int, str] = {}
        threads = [
            threading.Thread(target=lambda s=seed: crowd.__setitem__(s, (streamed if s % 2 else ask)(s)))
            for seed in range(40)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert [crowd[seed] for seed in range(40)] == alone
        assert len(set(alone)) > 10
