"""Making batches survive: DBOS writes down each step that is done, and whoever lives goes on with the work of the dead.

Knows DBOS and its habits; the steps themselves are `work`'s. A batch is one workflow, whose id is the batch's. DBOS is
started when there is a first batch to work at, and not before.
"""

import asyncio
import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from app.batches import repository
from app.batches.lines import TOGETHER
from app.batches.work import BatchWork
from app.database import Database, open_engine
from app.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")

_VERSION: Final = "1"
"""Of the order of steps in `run`: DBOS lets a workflow be finished only where it is the one that began it."""
_QUEUE: Final = "batches"
_BATCHES: Final = 4
"""Worked at side by side by one replica."""
_STEP: Final[dict[str, Any]] = {
    # A database that is away for a while: eight minutes in all.
    "retries_allowed": True,
    "max_attempts": 10,
    "interval_seconds": 1.0,
    "backoff_rate": 2.0,
}
_LOCKED: Final = "55P03"
"""PostgreSQL's code for a lock that was not to be had in time."""
_LONGEST_PERIOD: Final = 5.0
_ENDED: Final = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")

_in_this_process: "BatchRuns | None" = None
"""DBOS is one for a process."""


class BatchRuns:
    """Runs the batches of a service, and those of its dead replicas."""

    def __init__(self, work: BatchWork, database: Database, settings: Settings, *, lanes: int) -> None:
        """Keep up to `lanes` lines of each batch in work, and as many being read or stored."""
        self._work = work
        self._abreast = 2 * math.ceil(lanes / TOGETHER)
        self._database = database
        self._url = settings.database
        self._books = settings.state / "workflows.db"
        self._engine: sa.Engine | None = None
        self._takeover_seconds = settings.takeover_seconds
        self._id = f"replica-{uuid.uuid4().hex}"
        self._run: Callable[[str], Coroutine[Any, Any, None]] | None = None
        self._starting = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._seen: dict[str, tuple[int, float]] = {}
        """The count of each other replica, and since when it stands there."""
        self._at_work: list[str] = []
        """Batches that are being worked at in this process, twice while one is taken over from itself."""
        self._dropped: set[str] = set()
        """Those of ours that nobody was at when we last looked."""
        self._watching = asyncio.create_task(self._watch())

    async def begin(self, batch_id: str) -> None:
        """Have a new batch worked at. A fault here only delays it: the watch tries again."""
        try:
            await self._launch()
            await self._enqueue([batch_id])
        except Exception:
            log.exception("the batch %s could not be begun yet", batch_id)

    async def close(self) -> None:
        """Stop; what is unfinished is left to others, or to the next start."""
        global _in_this_process
        async with self._starting:  # else DBOS would go on starting in its thread, and nobody would end it
            self._watching.cancel()
        with suppress(asyncio.CancelledError):
            await self._watching
        if self._run is None:
            return
        await asyncio.to_thread(self._stop_dbos)
        self._run = None
        _in_this_process = None
        with suppress(SQLAlchemyError):  # else the others notice after a while
            await self._database.write(lambda session: repository.leave(session, self._id))

    async def _watch(self) -> None:
        """Say again and again that we live, and look for what nobody works at."""
        period = min(_LONGEST_PERIOD, self._takeover_seconds / 6)
        while True:
            try:
                await self._look()
            except SQLAlchemyError as error:
                log.warning("batches: the database does not answer (%s)", type(error).__name__)
            except Exception:
                log.exception("batches: looking after them failed")
            await asyncio.sleep(period)

    async def _look(self) -> None:
        unfinished = await self._database.read(repository.unfinished)
        if not unfinished and self._run is None:
            return
        await self._launch()
        await self._database.write(lambda session: repository.beat(session, self._id))
        await self._bury_the_dead()
        for batch_id in await self._database.read(repository.cancelling):
            self._work.stop(batch_id)
        await self._begin_forgotten(unfinished)

    async def _bury_the_dead(self) -> None:
        """Take over from replicas whose count has stood still for too long."""
        counts = await self._database.read(repository.replicas)
        moment = time.monotonic()
        self._seen = {
            name: self._seen[name] if self._seen.get(name, (None,))[0] == beats else (beats, moment)
            for name, beats in counts.items()
            if name != self._id
        }
        for name, (beats, since) in self._seen.items():
            if beats == -1 or moment - since > self._takeover_seconds:
                await asyncio.to_thread(self._take_over, name, beats)

    def _take_over(self, replica: str, beats: int) -> None:
        """Let the workflows that a dead replica was at be worked at again, by anybody."""
        from dbos import DBOS

        with self._database.writing() as session:
            if not repository.bury(session, replica, beats):
                return  # it lives, or somebody else has taken over
            pending = DBOS.list_workflows(executor_id=replica, status="PENDING", load_input=False, load_output=False)
            if pending:
                log.warning("batches: a replica is gone; %d batches are taken over", len(pending))
                DBOS.resume_workflows([one.workflow_id for one in pending], queue_name=_QUEUE)

    async def _begin_forgotten(self, unfinished: Sequence[str]) -> None:
        """Begin the batches that no workflow works at, go on with dropped ones, give up those whose workflow failed."""
        from dbos import DBOS

        if not unfinished:
            return
        found = await asyncio.to_thread(
            lambda: DBOS.list_workflows(workflow_ids=list(unfinished), load_input=False, load_output=False)
        )
        known = {one.workflow_id: one.status for one in found}
        living = await self._database.read(repository.replicas)
        pending = [one for one in found if one.status == "PENDING"]
        # Of one that nobody ever saw, as after a table was restored.
        strays = [one.workflow_id for one in pending if one.executor_id not in living]
        # Twice, since one that was only just claimed is not at work yet.
        idle = {
            one.workflow_id for one in pending if one.executor_id == self._id and one.workflow_id not in self._at_work
        }
        strays += idle & self._dropped
        self._dropped = idle.difference(strays)
        if strays:
            log.warning("batches: nobody is at %d of them; they are gone on with", len(strays))
            await asyncio.to_thread(DBOS.resume_workflows, strays, queue_name=_QUEUE)
        await self._enqueue([batch_id for batch_id in unfinished if batch_id not in known])
        for batch_id, status in known.items():
            if status in _ENDED:
                await self._work.give_up(batch_id)

    async def _enqueue(self, batch_ids: Sequence[str]) -> None:
        from dbos import DBOS, SetWorkflowID

        run = self._run
        assert run is not None

        def enqueue() -> None:
            for batch_id in batch_ids:
                with SetWorkflowID(batch_id):  # a second time it is the same workflow
                    DBOS.enqueue_workflow(_QUEUE, run, batch_id)

        await asyncio.to_thread(enqueue)

    async def _launch(self) -> None:
        global _in_this_process
        async with self._starting:
            if self._run is not None:
                return
            if _in_this_process is not None:
                raise RuntimeError("another service of this process runs batches already")
            _in_this_process = self
            # Others must not take what we begin for the work of a stranger.
            await self._database.write(lambda session: repository.beat(session, self._id))
            try:
                # In a thread, else DBOS would adopt our event loop and block it.
                self._run = await asyncio.to_thread(self._start_dbos)
            except BaseException:
                _in_this_process = None
                raise

    def _start_dbos(self) -> Callable[[str], Coroutine[Any, Any, None]]:
        from dbos import DBOS, DBOSPortableJSONSerializer

        if sa.make_url(self._url).get_backend_name() == "sqlite":
            books: dict[str, Any] = {"system_database_url": f"sqlite:///{self._books}"}  # beside our own file
        else:  # in a schema of its own. Given a URL, DBOS would look for the database through another one, `postgres`.
            self._engine = open_patient_engine(self._url)
            url = self._engine.url.render_as_string(hide_password=False)
            books = {"system_database_url": url, "system_database_engine": self._engine}
        config: Any = {
            **books,
            "name": "rejoinder",
            "application_version": _VERSION,
            "executor_id": self._id,
            "serializer": DBOSPortableJSONSerializer(),  # the default is pickle, which runs code when it is read
            "use_listen_notify": False,  # nobody waits for a workflow's end; a connection less
            "log_level": "WARNING",
        }
        DBOS(config=config)

        @DBOS.workflow(name="run")
        async def run(batch_id: str) -> None:
            self._at_work.append(batch_id)
            try:
                await self._work_through(batch_id)
            except SQLAlchemyError as error:
                # DBOS could not write down what was done. It would now write that the batch failed, or fail at that too
                # and leave it for ever as one that is being worked at. So this ends without a result, and the watch has
                # it gone on with.
                log.warning("batches: a step of %s could not be written down (%s)", batch_id, type(error).__name__)
                raise asyncio.CancelledError from error
            finally:
                self._at_work.remove(batch_id)

        DBOS.launch()
        DBOS.register_queue(_QUEUE, worker_concurrency=_BATCHES, polling_interval_sec=0.25, on_conflict="always_update")
        return run

    def _stop_dbos(self) -> None:
        from dbos import DBOS

        DBOS.destroy(destroy_registry=True)
        for thread in threading.enumerate():  # it does not wait for those, and they hold connections
            if thread.name.startswith("dbos-executor-"):
                thread.join(10)
        if self._engine is not None:
            self._engine.dispose()

    async def _work_through(self, batch_id: str) -> None:
        starts = await self._step("read", self._work.read, batch_id)
        abreast = asyncio.Semaphore(self._abreast)

        async def answer(start: int, number: int) -> None:
            # Served in the order in which they came, so the steps have the same numbers when this is run again.
            async with abreast:
                await self._step("answer", self._work.answer, batch_id, start, number)

        answers = [asyncio.ensure_future(answer(start, number)) for start, number in starts]
        try:
            await asyncio.gather(*answers)
        finally:
            for one in answers:
                one.cancel()
        await self._step("finish", self._work.finish, batch_id)

    async def _step(self, name: str, work: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> T:
        """Return what `work` returns on the service's own event loop, written down as a step that is done."""
        from dbos import DBOS

        async def on_our_loop() -> T:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(*arguments), self._loop))

        options: Any = {**_STEP, "name": name}
        return await DBOS.run_step_async(options, on_our_loop)


def open_patient_engine(url: str) -> sa.Engine:
    """Return an engine with which DBOS waits for a server that is away, and for a lock that somebody holds too long.

    It tells the former from other faults by the driver's words, and does not know all: without a server's socket it
    would fail what it is at. The latter is our own connections' limit, which it does not expect.
    """
    engine = open_engine(url)

    @sa.event.listens_for(engine, "handle_error")
    def know_as_away(context: sa.ExceptionContext) -> None:
        if context.connection is None or getattr(context.original_exception, "sqlstate", None) == _LOCKED:
            context.is_disconnect = True

    return engine
