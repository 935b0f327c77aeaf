"""Processes of `rejoinder serve` that share one database, and die: killed at random moments and started again."""

import os
import platform
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

PROGRAM = Path(__file__).parents[1] / "rejoinder.py"


class Workers:
    """`count` services without a model, on one database."""

    def __init__(self, count: int, state: Path, database_url: str | None) -> None:
        self._state = state
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if database_url is not None:
            self._environment["REJOINDER_DATABASE_URL"] = database_url
        self._ports = [_free_port() for _ in range(count)]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stop = threading.Event()
        self.killed = 0

    @property
    def addresses(self) -> list[str]:
        """Return where the services listen, or will listen again."""
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    def start(self) -> None:
        """Start all and wait until each answers."""
        self._processes = [self._run(port) for port in self._ports]
        for port, process in zip(self._ports, self._processes, strict=True):
            _wait(port, process)

    def kill_now_and_then(self, seconds: float, rng: random.Random) -> threading.Thread:
        """Kill a random one with SIGKILL about every so many seconds, and start it again, until `stop`."""

        def work() -> None:
            while not self._stop.wait(rng.uniform(0.5, 1.5) * seconds):
                index = rng.randrange(len(self._processes))
                self._processes[index].send_signal(signal.SIGKILL)
                self._processes[index].wait()
                self.killed += 1
                self._processes[index] = self._run(self._ports[index])
                _wait(self._ports[index], self._processes[index])

        thread = threading.Thread(target=work, name="killer")
        thread.start()
        return thread

    def stop(self) -> None:
        """End all."""
        self._stop.set()
        for thread in threading.enumerate():
            if thread.name == "killer":
                thread.join()
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(timeout=60)

    def _run(self, port: int) -> "subprocess.Popen[bytes]":
        models = self._state / "no-models"
        models.mkdir(parents=True, exist_ok=True)
        arguments = ["serve", "--models", str(models), "--state", str(self._state), "--port", str(port)]
        with (self._state / f"worker-{port}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, str(PROGRAM), *arguments], stdout=log, stderr=log, env=self._environment
            )


@contextmanager
def working(count: int, database_url: str | None = None, state: Path | None = None) -> Iterator[Workers]:
    """Run `count` services until the block ends; without `database_url` on SQLite, in `state` or a temporary one."""
    with tempfile.TemporaryDirectory(prefix="rejoinder-workers-") as folder:
        workers = Workers(count, state or Path(folder), database_url)
        try:
            workers.start()
            yield workers
        finally:
            workers.stop()


def describe_machine() -> dict[str, str | int]:
    """Return what a reader needs to know about this machine, and the date."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the service on port {port} ended with {process.returncode}")
        try:
            with urlopen(f"http://127.0.0.1:{port}/health/live", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the service on port {port} did not answer within two minutes")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
