"""The service in a process of its own, beside a program that goes on working: `rejoinder demo` trains meanwhile."""

import contextlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from chatbot.errors import RejoinderError

_PATIENCE = 120.0
"""Seconds for the service to start, to load models anew, and to end."""


class ServiceBeside:
    """Runs `rejoinder serve` as a child."""

    def __init__(self, models: Path, host: str | None, port: int | None, state: Path) -> None:
        """Start the service on `models` and wait until it answers; what is None comes from the environment.

        Raises RejoinderError when the port is taken, or it ends instead, after it has said why.
        """
        from app.commands import listen, read_settings, shown

        settings = read_settings(models=models, host=host, port=port, state=state)
        listen(settings.host, settings.port).close()  # whoever else is there would answer in its stead
        self._address = f"http://{shown(settings.host)}:{settings.port}"
        arguments = ["serve", "--models", models, "--host", settings.host, "--port", settings.port, "--state", state]
        program = [sys.executable, "-c", "from rejoinder import main; main()"]
        self._process = subprocess.Popen([*program, *map(str, arguments)])
        end = time.monotonic() + _PATIENCE
        while not self._answers() and time.monotonic() < end:
            if self._process.poll() is not None:
                raise RejoinderError("the service could not be started beside the training")
            time.sleep(0.1)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self._address}/health/live", timeout=5):
            return True
        return False

    def reload(self) -> None:
        """Have it load the models anew; it says itself what it could not load."""
        request = urllib.request.Request(f"{self._address}/v1/models/reload", method="POST")
        with contextlib.suppress(OSError, urllib.error.HTTPError), urllib.request.urlopen(request, timeout=_PATIENCE):
            pass

    def wait(self) -> int:
        """Wait until it ends, by Ctrl-C as a rule, and return its exit status."""
        with contextlib.suppress(KeyboardInterrupt):
            return self._process.wait()
        return self._process.wait(_PATIENCE)  # Ctrl-C has reached it, too

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(_PATIENCE)
