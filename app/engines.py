"""Where engines run: each in a process of its own at the end of a pipe, or in a thread of this one.

An engine takes orders and delivers the events of each step; one that dies says so. Knows processes, pipes and threads;
knows neither HTTP nor what a reply says, and imports no torch unless an engine is to run here.
"""

import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from app.settings import Settings
from chatbot.messages import Event, Loaded, Logged, Order, Reload, Stop
from chatbot.worker import ReplyBot, Worker, card_of

log = logging.getLogger(__name__)

Deliver = Callable[[Sequence[Event]], None]


class Engine(Protocol):
    """One engine, as the service sees it. Both callbacks come from a thread of the engine's."""

    def start(self, deliver: Deliver, lost: Callable[[], None]) -> None:
        """Start, load the models and deliver a Loaded; `lost` is called when it dies, and it can be started again."""

    def put(self, orders: Sequence[Order]) -> None:
        """Give orders; one that is dead ignores them."""

    def kill(self) -> None:
        """End it at once, whatever it is doing; it is then lost."""

    def stop(self) -> None:
        """End it; nothing is delivered and nothing is called lost from here on."""


class ThreadEngine:
    """An engine in a thread of this process, with models that are there already: for tests and single-process use."""

    def __init__(self, bots: Sequence[ReplyBot], broken: Mapping[str, str] | None = None) -> None:
        self._bots = bots
        self._broken = broken or {}
        self._worker: Worker | None = None
        self._thread: threading.Thread | None = None

    def start(self, deliver: Deliver, lost: Callable[[], None]) -> None:
        """Start the thread."""
        worker = Worker(deliver, bots=self._bots)

        def run() -> None:
            try:
                worker.run()
            except Exception:
                log.exception("the engine died")
                lost()

        self._worker = worker
        self._thread = threading.Thread(target=run, name="engine", daemon=True)
        self._thread.start()
        deliver([Loaded(tuple(card_of(bot) for bot in self._bots), self._broken)])

    def put(self, orders: Sequence[Order]) -> None:
        """Give orders."""
        if self._worker is not None:
            self._worker.put(*orders)

    def kill(self) -> None:
        """Do nothing: a thread cannot be ended from outside."""

    def stop(self) -> None:
        """End the thread after the step in hand."""
        if self._worker is not None and self._thread is not None:
            self._worker.put(Stop())
            self._thread.join(5)


class ProcessEngine:
    """An engine in a process of its own, which ends when we do: its pipe closes."""

    def __init__(self, models: Path, device: str, lanes: int, precision: str, gpu: str | None = None) -> None:
        """Use `gpu` alone of all that there are, where torch can use one at all."""
        self._variables = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        self._arguments = [str(models.absolute()), device, str(lanes), precision]
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None
        self._sending = threading.Lock()
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """Return the process's id."""
        return None if self._process is None else self._process.pid

    def start(self, deliver: Deliver, lost: Callable[[], None]) -> None:
        """Start the process and a thread that reads its pipe."""
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "chatbot.worker", str(theirs.fileno()), *self._arguments]
            # Found where this program's own modules were found, installed or not.
            paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
            environment = {**os.environ, **self._variables, "PYTHONPATH": os.pathsep.join(paths)}
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL)
        connection: Connection[Any, Any] = Connection(ours.detach())
        with self._sending:
            self._process, self._connection = process, connection

        def read() -> None:
            try:
                while True:
                    message = connection.recv()
                    if isinstance(message, Logged):
                        facts: dict[str, int | str] = {"engine": process.pid}
                        if message.exception is not None:
                            facts["exception"] = message.exception
                        logging.getLogger(message.logger).log(message.level, "%s", message.text, extra={"facts": facts})
                    else:
                        deliver(message)
            except (EOFError, OSError):
                process.kill()  # a process that closed its pipe is of no use
                process.wait()
                with self._sending:
                    connection.close()
                if not self._stopping:
                    log.error("an engine process died (status %s)", process.returncode)
                    lost()

        threading.Thread(target=read, name=f"engine-{process.pid}", daemon=True).start()

    def put(self, orders: Sequence[Order]) -> None:
        """Give orders; if the process is dead, the thread that reads from it has noticed or will."""
        with self._sending:
            if self._connection is not None and not self._connection.closed:
                try:
                    self._connection.send(orders)
                except OSError:
                    log.warning("an engine process takes no orders")

    def kill(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        """Tell the process to end, and kill it if it does not within seconds."""
        self._stopping = True
        self.put([Stop()])
        if self._process is not None:
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def engines_for(settings: Settings) -> list[Engine]:
    """Return the engines that `settings` ask for, none started: by default one for each GPU, or each core but one."""
    gpus: list[str] = []
    if settings.device == "auto":
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        found = [str(index) for index in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]
        gpus = found if visible is None else [name for name in visible.split(",") if name.strip()]
    count = settings.engines
    if count is None:
        on_gpu = gpus or settings.device.startswith("cuda")
        count = max(1, len(gpus)) if on_gpu else max(1, (os.cpu_count() or 1) - 1)
    return [
        ProcessEngine(
            settings.models,
            settings.device,
            settings.batch_size,
            settings.precision,
            gpu=gpus[index % len(gpus)] if gpus else None,
        )
        for index in range(count)
    ]


def reload_order(settings: Settings) -> Reload:
    """Return the order to load the bundles of the models' directory anew."""
    return Reload(settings.models.absolute())
