"""The service as its users start it, in processes of its own on trained bundles; it can be killed and started again."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import sqlalchemy as sa

from tests.system.conftest import PROGRAM

START_SECONDS = 120


class RealService:
    """`rejoinder serve` on one port and one state directory, whatever becomes of its processes."""

    def __init__(self, models: Path, state: Path, **variables: str) -> None:
        self._models = models
        self._state = state
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "REJOINDER_ENGINES": "1",
            "REJOINDER_DEVICE": "cpu",
            "REJOINDER_DRAIN_SECONDS": "0",
            **variables,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start the service and return when it is ready."""
        arguments = ["--models", str(self._models), "--state", str(self._state), "--port", str(self._port)]
        self._state.mkdir(exist_ok=True)
        with (self._state / "log").open("ab") as log:  # not a pipe: nobody would read it, and it would fill up
            self._process = subprocess.Popen(
                [*PROGRAM, "serve", *arguments], stdout=log, stderr=log, env=self._environment
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            assert self._process.poll() is None, (self._state / "log").read_text()
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health/ready").status_code == 200:
                    return
            time.sleep(0.1)
        raise AssertionError(f"not ready after {START_SECONDS} s")

    def freeze_engines(self) -> None:
        """Let the engine processes stand still: whatever is asked for from now on is never answered."""
        for engine in self._engines():
            os.kill(engine, signal.SIGSTOP)

    def kill(self) -> None:
        """End all processes at once, without a chance to say goodbye."""
        assert self._process is not None
        engines = self._engines()
        self._process.kill()
        self._process.wait(20)
        for engine in engines:
            with contextlib.suppress(ProcessLookupError):
                os.kill(engine, signal.SIGKILL)

    def stop(self) -> None:
        """End the service in order."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Read the database behind the service's back."""
        engine = sa.create_engine(f"sqlite:///{self._state / 'rejoinder.db'}")
        with engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(sa.text(query))]
        engine.dispose()
        return found

    def _engines(self) -> list[int]:
        assert self._process is not None
        command = ["ps", "-o", "pid=", "--ppid", str(self._process.pid)]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        return [int(pid) for pid in found.stdout.split()]
