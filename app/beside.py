"""The service in a process of its own, beside a program that goes on working: `rejoinder demo` trains meanwhile."""

import contextlib
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

_PATIENCE = 120.0
"""Seconds for the service to load models anew, and to end."""


class ServiceBeside:
    """Runs `rejoinder serve` as a child."""

    def __init__(self, models: Path, host: str | None, port: int | None, state: Path) -> None:
        """Start the service on `models`; what is None comes from the environment."""
        from app.commands import read_settings

        settings = read_settings(models=models, host=host, port=port, state=state)
        self._address = f"http://{settings.host}:{settings.port}"
        arguments = ["serve", "--models", models, "--host", settings.host, "--port", settings.port, "--state", state]
        program = [sys.executable, "-c", "from rejoinder import main; main()"]
        self._process = subprocess.Popen([*program, *map(str, arguments)])

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
