"""A scrape: what was counted, what is going on, and what the database knows, asked every few seconds at most."""

import asyncio
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Info, ProcessCollector, generate_latest
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from app.batches.tables import UNFINISHED
from app.database import POOL, Database
from app.generation import Generation
from app.monitoring import repository
from app.monitoring.repository import OpenBatches
from app.ratings.tables import Judgement

_FRESH_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 2.0
"""A database that is slower is told to be down; what was known is told without it."""


class Monitoring:
    """Tells the numbers of one service."""

    def __init__(self, registry: CollectorRegistry, generation: Generation, database: Database) -> None:
        self._registry = registry
        self._generation = generation
        self._database = database
        self._asked = -_FRESH_SECONDS
        self._asking: asyncio.Task[None] | None = None
        self._telling = asyncio.Lock()

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"rejoinder_{name}", text, labels, registry=registry)

        Info("rejoinder_build", "What runs.", registry=registry).info(
            {"version": rejoinder_version(), "python": platform.python_version()}
        )
        ProcessCollector(registry=registry)
        self._queue = gauge("queue_replies", "Replies that wait for a lane.", "model", "class")
        self._queue_capacity = gauge("queue_capacity_replies", "Replies that may wait before 429.")
        self._lanes = gauge("lanes_in_use", "Replies that the engines are at.", "model")
        self._lane_count = gauge("lanes", "Replies that the engines take, for each model.")
        self._engines = gauge("engines", "Engines by state.", "state")
        self._models = gauge("models_loaded", "Models that can be asked.")
        self._draining = gauge("draining", "1 while new requests are refused.")
        self._connections = gauge("database_connections", "Connections to the database by state.", "state")
        self._most_connections = gauge("database_connections_max", "Connections that may be open.")
        self._up = gauge("database_up", "1 when the database answered last time.")
        self._batches = gauge("batches", "Batches that are not finished, by status.", "status")
        self._lines = gauge("batch_lines", "Lines of batches that are not finished: all, completed, failed.", "state")
        self._leases = gauge("leases", "Items that raters hold.")
        ratings = Counter(
            "rejoinder_ratings", "Ratings of served replies stored here.", ["kind", "value"], registry=registry
        )
        judgements = Counter("rejoinder_judgements", "Judgements in studies stored here.", ["kind"], registry=registry)

        def stored(judgement: Judgement) -> None:
            if judgement.response_id is not None:
                ratings.labels(judgement.kind, str(judgement.value)).inc()
            else:
                judgements.labels(judgement.kind).inc()

        database.tell_of_new(Judgement, stored)

    async def tell(self) -> bytes:
        """Return all numbers in Prometheus's text format."""
        async with self._telling:  # gauges are emptied and filled again: nobody else may read them meanwhile
            await self._ask_database()
            self._look()
            return await asyncio.to_thread(generate_latest, self._registry)

    async def close(self) -> None:
        """Wait for the question that the database has not answered yet."""
        if self._asking is not None:
            await asyncio.gather(self._asking, return_exceptions=True)

    def _look(self) -> None:
        generation = self._generation
        self._queue.clear()
        for (model, urgency), replies in generation.waiting_by_class().items():
            self._queue.labels(model, urgency).set(replies)
        self._queue_capacity.set(generation.capacity)
        self._lanes.clear()
        for model, replies in generation.writing_by_model().items():
            self._lanes.labels(model).set(replies)
        self._lane_count.set(generation.lanes)
        running, total = generation.engine_counts()
        self._engines.labels("running").set(running)
        self._engines.labels("down").set(total - running)
        self._models.set(len(generation.models))
        self._draining.set(generation.draining)
        pool = self._database.engine.pool
        if isinstance(pool, QueuePool):
            self._connections.labels("in_use").set(pool.checkedout())
            self._connections.labels("idle").set(pool.checkedin())
        self._most_connections.set(POOL["pool_size"] + POOL["max_overflow"])

    async def _ask_database(self) -> None:
        if self._asking is None and time.monotonic() - self._asked >= _FRESH_SECONDS:
            self._asking = asyncio.create_task(self._ask())
        if self._asking is None:
            return
        done, _ = await asyncio.wait({self._asking}, timeout=_PATIENCE_SECONDS)
        if done:
            self._asking = None
        else:
            self._up.set(0)

    async def _ask(self) -> None:
        self._asked = time.monotonic()
        try:
            batches, leases = await self._database.read(_open)
        except SQLAlchemyError:
            self._up.set(0)
            return
        self._up.set(1)
        self._leases.set(leases)
        found = {one.status: one for one in batches}
        for status in UNFINISHED:
            self._batches.labels(status).set(found[status].batches if status in found else 0)
        self._lines.labels("all").set(sum(one.lines for one in batches))
        self._lines.labels("completed").set(sum(one.completed for one in batches))
        self._lines.labels("failed").set(sum(one.failed for one in batches))


def rejoinder_version() -> str:
    """Return the version of the program as it was installed."""
    try:
        return version("rejoinder")
    except PackageNotFoundError:
        return "not installed"


def _open(session: Session) -> tuple[list[OpenBatches], int]:
    return repository.open_batches(session), repository.open_leases(session)
