"""An engine at work: it holds the loaded models, takes orders, steps, and reports what came of each step.

Runs in a process of its own at the end of a pipe (`python -m chatbot.worker`), or in a thread. One message a step with
all its events: messages cost more than what is in them. Knows nothing of HTTP.
"""

import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from chatbot.errors import RejoinderError, RequestError
from chatbot.fault_report import report_fault
from chatbot.messages import (
    Begin,
    Cancel,
    Ended,
    Event,
    Failed,
    Loaded,
    Logged,
    ModelCard,
    ModelLimits,
    Order,
    Reload,
    ReplyLimits,
    Stop,
)
from chatbot.models_directory import LoadedModel, load_models
from chatbot.priority import take_precedence
from chatbot.request import Decoding, ReplyRequest

log = logging.getLogger("chatbot.worker")  # its own name, where it is the program that runs, too


class ReplyBot(Protocol):
    """What a worker needs of `chatbot.bot.Bot`."""

    @property
    def name(self) -> str:
        """Name of its directory."""

    @property
    def digest(self) -> str:
        """SHA-256 of weights and tokenizer."""

    @property
    def card(self) -> str:
        """Its README.md, or nothing."""

    @property
    def limits(self) -> ReplyLimits:
        """How much it can read and write."""

    @property
    def has_discriminator(self) -> bool:
        """Whether it can rank candidates."""

    @property
    def device(self) -> str:
        """Where it computes."""

    @property
    def precision(self) -> str:
        """How it computes."""

    @property
    def decoding(self) -> Decoding:
        """How it draws where a request does not say."""

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""

    def begin(self, key: int, request: ReplyRequest, *, stream: bool = False) -> None:
        """Let a request be answered by the coming steps. Raises RequestError."""

    def cancel(self, key: int) -> None:
        """Give up a request."""

    def step(self) -> list[Event]:
        """Go one step on and say what came of it."""


Load = Callable[[Path], ReplyBot]


def card_of(bot: ReplyBot) -> ModelCard:
    """Return what is to be known of `bot` elsewhere."""
    return ModelCard(
        name=bot.name,
        digest=bot.digest,
        card=bot.card,
        limits=ModelLimits(bot.limits.context_tokens, bot.limits.reply_tokens),
        has_discriminator=bot.has_discriminator,
        device=bot.device,
        precision=bot.precision,
        decoding=bot.decoding,
    )


class Worker:
    """Take orders for the loaded models and step them in turn."""

    def __init__(
        self,
        report: Callable[[Sequence[Event]], None],
        load: Load | None = None,
        bots: Sequence[ReplyBot] = (),
    ) -> None:
        """Answer with `bots`, or with what `load` makes of the bundles of a directory as soon as that is ordered."""
        self._report = report
        self._load = load
        self._loaded: Sequence[LoadedModel[ReplyBot]] = ()
        self._bots = {bot.name: bot for bot in bots}
        self._retired: list[ReplyBot] = []
        """Replaced models that still answer what they began."""
        self._owners: dict[int, ReplyBot] = {}
        self._orders: queue.SimpleQueue[Order | _Reloaded] = queue.SimpleQueue()

    def put(self, *orders: Order) -> None:
        """Let `orders` be carried out before the next step; may be called from any thread."""
        for order in orders:
            self._orders.put(order)

    def run(self) -> None:
        """Work until told to stop."""
        while True:
            events: list[Event] = []
            for order in self._due():
                if isinstance(order, Stop):
                    return
                self._obey(order, events)
            for bot in [*self._bots.values(), *self._retired]:
                if bot.busy:
                    events += self._step(bot)
            self._retired = [bot for bot in self._retired if bot.busy]
            if events:
                self._report(events)

    def _due(self) -> "Iterator[Order | _Reloaded]":
        """Yield the orders that are there; with nothing else to do, wait for one."""
        if not any(bot.busy for bot in (*self._bots.values(), *self._retired)):
            yield self._orders.get()
        while True:
            try:
                yield self._orders.get_nowait()
            except queue.Empty:
                return

    def _obey(self, order: "Order | _Reloaded", events: list[Event]) -> None:
        match order:
            case Begin():
                self._begin(order, events)
            case Cancel():
                bot = self._owners.pop(order.key, None)
                if bot is not None:
                    bot.cancel(order.key)
            case Reload():
                self._reload(order.models, events)
            case _Reloaded():
                self._exchange(order, events)
            case Stop():  # pragma: no cover - `run` has returned
                raise AssertionError

    def _begin(self, order: Begin, events: list[Event]) -> None:
        bot = self._bots.get(order.model)
        if bot is None:
            events.append(Failed(order.key, "unknown_model", f"the model {order.model!r} is not loaded any more"))
            return
        try:
            bot.begin(order.key, order.request, stream=order.stream)
        except RequestError as error:
            events.append(Failed(order.key, "refused", str(error), error.param))
        except Exception as error:
            log.exception("the model %s failed at a request", bot.name)
            events.append(Failed(order.key, "broken", type(error).__name__))
        else:
            self._owners[order.key] = bot

    def _step(self, bot: ReplyBot) -> list[Event]:
        try:
            events = bot.step()
        except Exception as error:  # a bot answers for its requests one by one: this is a fault of its own
            log.exception("the model %s failed", bot.name)
            keys = [key for key, owner in self._owners.items() if owner is bot]
            for key in keys:
                bot.cancel(key)
            events = [Failed(key, "broken", type(error).__name__) for key in keys]
        for event in events:
            if isinstance(event, Failed):
                log.error("the model %s failed at a request: %s", bot.name, event.message)
            if isinstance(event, Ended | Failed):
                self._owners.pop(event.key, None)
        card = card_of(bot)
        return [replace(event, model=card) if isinstance(event, Ended) else event for event in events]

    def _reload(self, models: Path, events: list[Event]) -> None:
        if self._load is None:
            fault = "the service was given its models, and no directory of them: there is nothing to load anew"
            self._exchange(_Reloaded(None, {}, fault), events)
        else:  # loading takes seconds: replies in work go on meanwhile
            threading.Thread(target=self._read, args=(models, self._load, self._loaded), daemon=True).start()

    def _read(self, models: Path, load: Load, known: Sequence[LoadedModel[ReplyBot]]) -> None:
        """Load the bundles of `models`, in a thread, and have them put in place between two steps."""
        try:
            self._orders.put(_Reloaded(*load_models(models, load, known)))
        except RejoinderError as error:
            self._orders.put(_Reloaded(None, {}, str(error)))
        except Exception as error:
            log.exception("the models cannot be loaded")
            self._orders.put(_Reloaded(None, {}, f"the models cannot be loaded ({type(error).__name__}: {error})"))

    def _exchange(self, loaded: "_Reloaded", events: list[Event]) -> None:
        if loaded.models is not None:
            self._loaded = loaded.models
            fresh = {one.model.name: one.model for one in loaded.models}
            self._retired += [bot for name, bot in self._bots.items() if fresh.get(name) is not bot]
            self._bots = fresh
        events.append(Loaded(tuple(card_of(bot) for bot in self._bots.values()), loaded.broken, loaded.fault))


class _Reloaded:
    """Loading is done."""

    def __init__(
        self, models: Sequence[LoadedModel[ReplyBot]] | None, broken: Mapping[str, str], fault: str | None = None
    ) -> None:
        self.models = models
        self.broken = broken
        self.fault = fault


class _ToService(logging.Handler):
    """Hands what is logged here to the one who started us: its log has one form."""

    def __init__(self, send: Callable[[Logged], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Hand over one line."""
        fault = record.exc_info[1] if record.exc_info else None
        report = None if fault is None else report_fault(fault)
        with suppress(OSError):  # it is gone, and nobody reads our log
            self._send(Logged(record.levelno, record.name, record.getMessage(), report))


def main(arguments: Sequence[str]) -> None:
    """Work at the end of a pipe until it closes: `python -m chatbot.worker PIPE MODELS DEVICE LANES PRECISION`."""
    pipe, models, device, lanes, precision = arguments
    take_precedence()  # before there are threads
    # Ctrl-C and a service manager's TERM reach the whole group: the one who started us says when we are done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection: Connection[Any, Any] = Connection(int(pipe))
    sending = threading.Lock()

    def send(message: Sequence[Event] | Logged) -> None:
        with sending:
            connection.send(message)

    logging.basicConfig(handlers=[_ToService(send)], level=logging.WARNING)
    logging.captureWarnings(True)

    import torch

    from chatbot.bot import Bot
    from chatbot.memory import keep_freed_memory

    keep_freed_memory()
    if not device.startswith("cuda"):
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

    def load(path: Path) -> Bot:
        return Bot.load(path, device, int(lanes), precision)

    worker = Worker(send, load)

    def listen() -> None:
        try:
            while True:
                worker.put(*connection.recv())
        except (EOFError, OSError):  # whoever started us is gone
            worker.put(Stop())

    threading.Thread(target=listen, daemon=True).start()
    worker.put(Reload(Path(models)))
    with suppress(BrokenPipeError):
        worker.run()
    # A thread may be inside torch, loading: the interpreter's own end would tear it down there, with an abort.
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
