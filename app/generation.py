"""Drawing replies without blocking the event loop: one worker thread that batches whatever waits.

Knows requests, queues and threads; knows nothing of HTTP, of the database or of what a reply says.
"""

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.errors import GenerationError, OverloadedError, UnavailableError
from app.models import ReplyBot
from chatbot.errors import RejoinderError

if TYPE_CHECKING:
    from chatbot.bot import Answer, ReplyRequest

log = logging.getLogger(__name__)


def candidates(request: "ReplyRequest") -> int:
    """Return how many replies the generator draws for `request`."""
    return max(request.n, request.best_of or 0)


@dataclass(frozen=True, eq=False)
class _Waiting:
    bot: ReplyBot
    request: "ReplyRequest"
    future: "Future[Answer]" = field(default_factory=Future)

    @property
    def size(self) -> int:
        return candidates(self.request)


class Generation:
    """A queue of requests and the one thread that answers them, `batch_size` replies at a time for each model."""

    def __init__(self, *, capacity: int, batch_size: int) -> None:
        self._capacity = capacity
        self._batch_size = batch_size
        self._queue: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._seconds_per_reply = 0.05  # a guess until the first batch is measured
        self._thread = threading.Thread(target=self._work, name="generation", daemon=True)

    def start(self) -> None:
        """Start the worker."""
        self._thread.start()

    def stop(self, timeout: float = 30.0) -> None:
        """Let the worker finish the batch in hand, refuse what still waits, and end it."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout)

    async def answer(self, bot: ReplyBot, requests: "Sequence[ReplyRequest]") -> "list[Answer]":
        """Return the answers to `requests`, in their order.

        Raises OverloadedError when the queue has no room for all of them, RequestError when the model refuses one,
        GenerationError when it fails. If the caller is cancelled, what has not begun is never drawn.
        """
        waiting = [_Waiting(bot, request) for request in requests]
        self._put(waiting)
        try:
            return await asyncio.gather(*(asyncio.wrap_future(one.future) for one in waiting))
        finally:
            for one in waiting:
                one.future.cancel()  # no effect on those that are answered

    def _put(self, waiting: Sequence[_Waiting]) -> None:
        with self._changed:
            if self._stopping:
                raise UnavailableError("the service is stopping", code="stopping", headers={"Retry-After": "5"})
            queued = sum(one.size for one in self._queue if not one.future.cancelled())
            # An empty queue takes any request that passed the limits, else a small capacity could refuse it forever.
            if queued and queued + sum(one.size for one in waiting) > self._capacity:
                seconds = max(1, math.ceil(queued * self._seconds_per_reply))
                raise OverloadedError(
                    f"{queued} replies are waiting already; try again in {seconds} s", retry_after=min(seconds, 60)
                )
            self._queue.extend(waiting)
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._stopping:
                    self._changed.wait()
                if self._stopping:
                    for one in self._queue:
                        if one.future.set_running_or_notify_cancel():
                            one.future.set_exception(UnavailableError("the service is stopping", code="stopping"))
                    self._queue.clear()
                    return
                batch = self._take()
            if batch:
                started = time.monotonic()
                _answer(batch)
                seconds = (time.monotonic() - started) / sum(one.size for one in batch)
                self._seconds_per_reply += 0.2 * (seconds - self._seconds_per_reply)

    def _take(self) -> list[_Waiting]:
        """Remove from the queue the oldest request and those for the same model that fit into one batch with it."""
        batch: list[_Waiting] = []
        left: deque[_Waiting] = deque()
        size = 0
        for one in self._queue:
            fits = not batch or (one.bot is batch[0].bot and size + one.size <= self._batch_size)
            if not fits:
                if not one.future.cancelled():
                    left.append(one)
            elif one.future.set_running_or_notify_cancel():  # from here on it cannot be cancelled, so it can be set
                batch.append(one)
                size += one.size
        self._queue = left
        return batch


def _answer(batch: Sequence[_Waiting]) -> None:
    """Answer every request of `batch`, or tell each its own fault."""
    try:
        answers = batch[0].bot.answer([one.request for one in batch])
        if len(answers) != len(batch):
            raise RuntimeError(f"{len(batch)} requests got {len(answers)} answers")
    except Exception as error:
        if len(batch) > 1:  # one of them is to blame: the others must not pay for it
            for one in batch:
                _answer([one])
            return
        if not isinstance(error, RejoinderError):
            log.exception("the model %s failed", batch[0].bot.name)
            error = GenerationError("the model failed at this request; the fault is logged", code="generation_failed")
        batch[0].future.set_exception(error)
        return
    for one, answer in zip(batch, answers, strict=True):
        one.future.set_result(answer)
