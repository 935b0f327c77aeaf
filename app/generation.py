"""Having replies drawn: the queue before the engines, the futures and streams of those who wait, and the watchdog.

All of it lives on the event loop; what engines deliver is handed over to it. Knows nothing of HTTP, of the database or
of what a reply says.
"""

import asyncio
import itertools
import logging
import math
import time
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from app.engines import Engine
from app.errors import GenerationError, NotFoundError, OverloadedError, ServiceError, UnavailableError
from app.models import Models
from app.monitoring.metrics import GenerationMetrics
from chatbot.engine.waiting import Pace, Urgency, Waiting, WaitingLine
from chatbot.errors import RejoinderError, RequestError
from chatbot.messages import Begin, Cancel, Delta, Ended, Event, Failed, Loaded, ModelCard, Order
from chatbot.request import Answer, ReplyRequest, TokenLogprob

log = logging.getLogger(__name__)

_TICK = 0.25
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True)
class Answered:
    """The replies to one request, and the model as it was when it wrote them."""

    answer: Answer
    model: ModelCard


@dataclass
class Update:
    """What came of a streamed request since one looked last: how each choice went on, and at the end the whole."""

    texts: dict[int, str] = field(default_factory=dict)
    logprobs: dict[int, list[TokenLogprob]] = field(default_factory=dict)
    ended: Answered | None = None


class ReplyStream:
    """The replies to one request as they are written. What comes while a reader is slow is joined."""

    def __init__(self, generation: "Generation", held: "_Held") -> None:
        self._generation = generation
        self._held = held
        self._update = Update()
        self._news = asyncio.Event()
        self._error: Exception | None = None

    async def next(self, timeout: float | None = None) -> Update | None:
        """Return what is new as soon as there is something; None when nothing came within `timeout` seconds.

        Raises what the request failed with.
        """
        if not self._news.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):  # `wait_for` would make a task of it, for every token
                    await self._news.wait()
        if not self._news.is_set():
            return None
        self._news.clear()
        update, self._update = self._update, Update()
        if update.texts or update.logprobs or update.ended:
            if self._error is not None:
                self._news.set()
            return update
        if self._error is not None:
            raise self._error
        return update

    def close(self) -> None:
        """Give the request up if it is still in work."""
        self._generation.forget(self._held)

    def add(self, delta: Delta) -> None:
        """Join a piece of text to what has not been read yet."""
        if delta.text:
            self._update.texts[delta.choice] = self._update.texts.get(delta.choice, "") + delta.text
        if delta.logprobs:
            self._update.logprobs.setdefault(delta.choice, []).extend(delta.logprobs)
        self._news.set()

    def end(self, outcome: Answered | Exception) -> None:
        """Tell the end."""
        if isinstance(outcome, Answered):
            self._update.ended = outcome
        else:
            self._error = outcome
        self._news.set()


@dataclass(eq=False)
class _Held:
    """A request that was taken and not answered yet."""

    key: int
    model: str
    request: ReplyRequest
    urgency: Urgency
    future: "asyncio.Future[Answered] | None" = None
    stream: ReplyStream | None = None
    engine: "_Seat | None" = None
    taken: float = field(default_factory=time.monotonic)
    silent: bool = True
    """Whether nothing of it has been told yet."""

    @property
    def size(self) -> int:
        return self.request.candidates

    def end(self, outcome: Answered | Exception) -> None:
        if self.stream is not None:
            self.stream.end(outcome)
        elif self.future is not None and not self.future.done():
            if isinstance(outcome, Answered):
                self.future.set_result(outcome)
            else:
                self.future.set_exception(outcome)


class _Seat:
    """What is known of one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.models: frozenset[str] = frozenset()
        """Loaded by it; none while it is not there."""
        self.writing: defaultdict[str, int] = defaultdict(int)
        self.heard = 0.0
        self.deaths = 0
        self.loaded: asyncio.Future[Loaded] | None = None
        self.orders: list[Order] = []
        """To be handed over together: each message wakes a thread of the engine's, which stops its work."""

    def room(self, model: str, size: int, window: int) -> bool:
        """Say whether the engine should be given `size` more replies of `model`; one idle takes any number."""
        return model in self.models and (self.writing[model] == 0 or self.writing[model] + size <= window)


class Generation:
    """Take requests for replies, hand them to engines as lanes become free, and bring the answers back."""

    def __init__(
        self,
        engines: Sequence[Engine],
        models: Models,
        *,
        capacity: int,
        lanes: int,
        patience: float = 1.0,
        queue_seconds: float = 60.0,
        silence_seconds: float = 60.0,
        metrics: GenerationMetrics | None = None,
    ) -> None:
        self.capacity = capacity
        self.metrics = metrics or GenerationMetrics(CollectorRegistry())
        self._seats = [_Seat(engine) for engine in engines]
        self.models = models
        self._line: WaitingLine[_Held] = WaitingLine(capacity)
        self._window = lanes + max(1, lanes // 4)  # a few wait in the engine, so that no lane waits for us
        self._patience = patience
        self._queue_seconds = queue_seconds
        self._silence_seconds = silence_seconds
        self._pace = Pace()
        self._keys = itertools.count()
        self._held: dict[int, _Held] = {}
        self._draining = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Start the engines and wait until they have loaded the models.

        Raises RejoinderError when they cannot be loaded.
        """
        self._loop = asyncio.get_running_loop()
        for seat in self._seats:
            self._start(seat)
        try:
            await self._all_loaded()
        except BaseException:
            await self.stop()
            raise
        self._spawn(self._watch())

    async def stop(self) -> None:
        """Refuse what still waits, end the engines."""
        self._draining = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for held in list(self._held.values()):
            self._finish(held, UnavailableError("the service is stopping", code="stopping"))
        await asyncio.gather(*(asyncio.to_thread(seat.engine.stop) for seat in self._seats))

    def drain(self) -> None:
        """Take no new requests; those that were taken go on."""
        self._draining = True

    @property
    def started(self) -> bool:
        """Return whether `start` has been called."""
        return self._loop is not None

    @property
    def draining(self) -> bool:
        """Return whether new requests are refused."""
        return self._draining

    @property
    def waiting(self) -> int:
        """Return how many replies wait for a lane."""
        return self._line.size

    @property
    def writing(self) -> int:
        """Return how many replies the engines are at."""
        return sum(sum(seat.writing.values()) for seat in self._seats)

    @property
    def lanes(self) -> int:
        """Return how many replies of one model all engines write side by side, a few that wait for a lane counted."""
        return self._window * len(self._seats)

    @property
    def has_engine(self) -> bool:
        """Return whether any engine is there."""
        return any(seat.loaded is not None and seat.loaded.done() for seat in self._seats)

    def engine_counts(self) -> tuple[int, int]:
        """Return how many engines have their models, and how many there should be."""
        return sum(bool(seat.models) for seat in self._seats), len(self._seats)

    def waiting_by_class(self) -> dict[tuple[str, str], int]:
        """Return how many replies wait for a lane, by model and class, for every loaded model."""
        waiting = {(name, urgency.name.lower()): 0 for name in self.models.names for urgency in Urgency}
        for one in self._line:
            key = (one.model, one.urgency.name.lower())
            waiting[key] = waiting.get(key, 0) + one.size
        return waiting

    def writing_by_model(self) -> dict[str, int]:
        """Return how many replies the engines are at, by model, for every loaded model."""
        return {name: sum(seat.writing.get(name, 0) for seat in self._seats) for name in self.models.names}

    async def answer(
        self, model: str, requests: Sequence[ReplyRequest], urgency: Urgency = Urgency.INTERACTIVE
    ) -> list[Answered]:
        """Return the answers to `requests`, in their order.

        Raises OverloadedError when the queue has no room for all of them, UnavailableError when one waited too long or
        its engine died, RequestError when the model refuses one, GenerationError when it fails. If the caller is
        cancelled, all of them are given up at once.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not None and loop is not self._loop:  # called on another loop than the service's own
            work = asyncio.run_coroutine_threadsafe(self.answer(model, requests, urgency), self._loop)
            return await asyncio.wrap_future(work)
        held = [_Held(next(self._keys), model, request, urgency, loop.create_future()) for request in requests]
        self._take(held)
        try:
            return await asyncio.gather(*(one.future for one in held if one.future is not None))
        finally:
            for one in held:
                self.forget(one)

    def stream(self, model: str, request: ReplyRequest) -> ReplyStream:
        """Return the replies to `request` as they are written; who has read enough calls `close`.

        Raises OverloadedError or UnavailableError.
        """
        held = _Held(next(self._keys), model, request, Urgency.INTERACTIVE)
        held.stream = ReplyStream(self, held)
        self._take([held])
        return held.stream

    async def reload(self, order: Order) -> None:
        """Have every engine load the models anew; requests go on meanwhile. Raises RejoinderError when none loads."""
        loop = asyncio.get_running_loop()
        for seat in self._seats:
            if seat.loaded is not None and seat.loaded.done():  # one that is starting reads the directory anyway
                seat.loaded = loop.create_future()
                self._order(seat, order)
        await self._all_loaded()
        known = frozenset().union(*(seat.models for seat in self._seats))
        for waiting in self._line.remove(lambda one: one.model not in known):
            self._finish(waiting.item, _not_loaded(waiting.model))
        self._dispatch()

    def forget(self, held: _Held) -> None:
        """Give up a request: it leaves the queue, or its lanes are freed. One that is answered is left alone."""
        if self._held.pop(held.key, None) is None:
            return
        self._count(held, None)
        if held.engine is None:
            self._line.remove(lambda one: one.item is held)
        else:
            self._order(held.engine, Cancel(held.key))
            self._release(held)
        self._dispatch()

    def _take(self, held: Sequence[_Held]) -> None:
        if self._draining:
            raise UnavailableError("the service is stopping", code="stopping", headers={"Retry-After": "5"})
        if held:
            self._check_room(held)
        deadline = time.monotonic() + self._queue_seconds
        for one in held:
            self._held[one.key] = one
            self._line.add(Waiting(one, one.model, one.size, one.urgency, deadline))
        self._dispatch()

    def _check_room(self, held: Sequence[_Held]) -> None:
        """Refuse what would wait too long before a screen, and what no queue should hold.

        Lanes become free as fast as lanes are many and replies short (Little's law): whoever finds `patience` times the
        lanes waiting would wait `patience` times as long as a reply takes to be written, fast model or slow.
        """
        model, urgency = held[0].model, held[0].urgency
        most = math.inf
        if urgency is Urgency.INTERACTIVE:
            most = self._patience * self._window * max(1, sum(model in seat.models for seat in self._seats))
        if self._line.has_room(sum(one.size for one in held), model, urgency, most):
            return
        waiting = self._line.waiting(urgency)
        seconds = self._pace.seconds(waiting)
        error = OverloadedError(f"{waiting} replies are waiting already; try again in {seconds} s", retry_after=seconds)
        for one in held:
            self._count(one, error)
        raise error

    def _dispatch(self) -> None:
        def fits(waiting: Waiting[_Held]) -> bool:
            return any(seat.room(waiting.model, waiting.size, self._window) for seat in self._seats)

        while (waiting := self._line.take(fits)) is not None:
            held = waiting.item
            free = [seat for seat in self._seats if seat.room(held.model, held.size, self._window)]
            seat = min(free, key=lambda one: one.writing[held.model])
            now = time.monotonic()
            self.metrics.began(held.model, _class_of(held), now - held.taken)
            if not any(seat.writing.values()):
                seat.heard = now
            seat.writing[held.model] += held.size
            held.engine = seat
            self._order(seat, Begin(held.key, held.model, held.request, held.stream is not None))

    def _order(self, seat: _Seat, order: Order) -> None:
        assert self._loop is not None
        if not seat.orders:
            self._loop.call_soon(self._hand_over, seat)
        seat.orders.append(order)

    def _hand_over(self, seat: _Seat) -> None:
        orders, seat.orders = seat.orders, []
        seat.engine.put(orders)

    def _release(self, held: _Held) -> None:
        if held.engine is not None:
            held.engine.writing[held.model] -= held.size
            held.engine = None

    def _finish(self, held: _Held, outcome: Answered | Exception) -> None:
        if self._held.pop(held.key, None) is not None:
            self._count(held, outcome)
        self._release(held)
        held.end(outcome)

    def _count(self, held: _Held, outcome: Answered | Exception | None) -> None:
        """Count what came of a request; None: nobody waited for it any more."""
        urgency = _class_of(held)
        if isinstance(outcome, Answered):
            tokens = sum(reply.tokens for reply in outcome.answer.replies)
            seconds = time.monotonic() - held.taken
            self.metrics.answered(held.model, urgency, seconds, outcome.answer.context_tokens, tokens)
        elif isinstance(outcome, ServiceError):
            self.metrics.ended(held.model, urgency, outcome.code or outcome.type)
        else:
            self.metrics.ended(held.model, urgency, "abandoned" if outcome is None else "refused")

    def _start(self, seat: _Seat) -> None:
        loop = self._loop
        assert loop is not None
        seat.loaded = loop.create_future()

        def deliver(events: Sequence[Event]) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._receive, seat, events)

        def lost() -> None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._lose, seat)

        seat.engine.start(deliver, lost)

    async def _all_loaded(self) -> None:
        loaded = await asyncio.gather(*(seat.loaded for seat in self._seats if seat.loaded is not None))
        for one in loaded:
            if one.fault is not None:
                raise RejoinderError(one.fault)

    def _receive(self, seat: _Seat, events: Sequence[Event]) -> None:
        seat.heard = time.monotonic()
        finished = 0
        for event in events:
            if isinstance(event, Loaded):
                self._take_models(seat, event)
                continue
            held = self._held.get(event.key)
            if held is None or held.engine is not seat:
                continue  # given up meanwhile
            if isinstance(event, Delta):
                if held.silent:
                    held.silent = False
                    self.metrics.first(held.model, seat.heard - held.taken)
                if held.stream is not None:
                    held.stream.add(event)
                continue
            finished += held.size
            if isinstance(event, Ended):
                self._finish(held, Answered(event.answer, event.model or self.models.get(held.model)))
            else:
                self._finish(held, _error_of(event, held.model))
        self._pace.note(finished, seat.heard, busy=self.writing > 0)
        if finished:
            self._dispatch()

    def _take_models(self, seat: _Seat, loaded: Loaded) -> None:
        if loaded.fault is None:
            seat.models = frozenset(card.name for card in loaded.models)
            seat.deaths = 0
            self.models.replace(loaded.models, loaded.broken)
        if seat.loaded is not None and not seat.loaded.done():
            seat.loaded.set_result(loaded)
        self._dispatch()

    def _lose(self, seat: _Seat) -> None:
        """Answer what a dead engine held, and start it again."""
        seat.models = frozenset()
        for held in [one for one in self._held.values() if one.engine is seat]:
            self._finish(
                held,
                UnavailableError(
                    "the engine that wrote this reply died; it is being started again",
                    code="engine_lost",
                    headers={"Retry-After": "1"},
                ),
            )
        if seat.loaded is not None and not seat.loaded.done():  # it died while loading
            seat.loaded.set_result(Loaded((), fault="the engine died while it loaded the models; see the log"))
        self._spawn(self._start_again(seat))

    async def _start_again(self, seat: _Seat) -> None:
        if seat.deaths:  # it never came up since it died last: do not try without pause
            await asyncio.sleep(min(_LONGEST_PAUSE, 0.5 * 2**seat.deaths))
        seat.deaths += 1
        if not self._draining:
            self.metrics.restarted()
            self._start(seat)

    async def _watch(self) -> None:
        """Give up requests that waited too long, and engines that are silent although they have work."""
        while True:
            await asyncio.sleep(_TICK)
            now = time.monotonic()
            for waiting in self._line.expire(now):
                seconds = str(self._pace.seconds(self._line.size))
                self._finish(
                    waiting.item,
                    UnavailableError(
                        f"no lane became free within {self._queue_seconds:g} s",
                        code="queue_deadline",
                        headers={"Retry-After": seconds},
                    ),
                )
            for seat in self._seats:
                if any(seat.writing.values()) and now - seat.heard > self._silence_seconds:
                    log.error("an engine has been silent for %g s and is ended", now - seat.heard)
                    seat.heard = now
                    seat.engine.kill()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _class_of(held: _Held) -> str:
    return held.urgency.name.lower()


def _not_loaded(model: str) -> ServiceError:
    return NotFoundError(f"the model {model[:100]!r} is not loaded any more", param="model", code="model_not_found")


def _error_of(failed: Failed, model: str) -> Exception:
    if failed.kind == "refused":
        return RequestError(failed.message, failed.param)
    if failed.kind == "unknown_model":
        return _not_loaded(model)
    return GenerationError("the model failed at this request; the fault is logged", code="generation_failed")
