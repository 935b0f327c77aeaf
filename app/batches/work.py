"""Working at a batch: looking its file through, answering its lines, writing its files.

Each of these may be done again, wholly or in part, by this process or another: a line is stored once, a batch ends
once.
Everything runs on the service's event loop. Knows nothing of how the steps are made to survive.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from app.batches import repository
from app.batches.lines import TOGETHER, Line, Plan, failure, plan, read_lines, read_request, success
from app.batches.schemas import BatchFault
from app.batches.tables import UNFINISHED, Batch
from app.chat.schemas import CompletionRequest
from app.chat.service import DRAWN_SEEDS, ChatService
from app.chat.storing import Drawn, keep
from app.database import Database, now
from app.errors import OverloadedError, ServiceError, UnavailableError, from_exception
from app.files import repository as files
from app.files.storage import Storage, new_file_id
from app.settings import Settings
from chatbot.engine.waiting import Urgency
from chatbot.errors import RejoinderError

log = logging.getLogger(__name__)

_ATTEMPTS: Final = 5
"""How often a line may lose its engine before it is taken for the cause."""
_PAUSE: Final = 1.0


@dataclass(frozen=True)
class _Answered:
    """What came of a line."""

    number: int
    failed: bool
    text: str
    drawn: Drawn | None = None


class BatchWork:
    """Does the steps of batches."""

    def __init__(self, chat: ChatService, database: Database, storage: Storage, settings: Settings) -> None:
        self._chat = chat
        self._database = database
        self._storage = storage
        self._most_lines = settings.max_batch_lines
        self._longest = settings.max_body_bytes
        self._stops: dict[str, asyncio.Event] = {}

    async def read(self, batch_id: str) -> list[tuple[int, int]]:
        """Look the batch's file through and return where its steps begin; none when it cannot be begun."""
        batch = await self._database.read(lambda session: repository.get(session, batch_id))
        if batch is None or batch.status not in UNFINISHED:
            return []
        try:
            found = await run_in_threadpool(plan, self._storage.path(batch.input_file_id), self._most_lines)
        except FileNotFoundError:
            missing = f"the content of {batch.input_file_id} is not on this machine"
            found = Plan(0, [], [BatchFault(code="file_not_found", message=missing, param="input_file_id")])
        await self._database.write(lambda session: _begin(session, batch_id, found))
        return [] if found.faults else found.starts

    async def answer(self, batch_id: str, start: int, number: int) -> None:
        """Answer the lines from the place `start` on, of which the first is `number`; those that are answered stay."""
        batch = await self._database.read(lambda session: repository.get(session, batch_id))
        if batch is None or batch.status != "in_progress":
            return
        path = self._storage.path(batch.input_file_id)
        lines = await run_in_threadpool(lambda: list(read_lines(path, start, number, TOGETHER)))
        numbers = [line.number for line in lines]
        known = await self._database.read(lambda session: repository.answered(session, batch_id, numbers))
        answered = await self._answer(batch, [line for line in lines if line.number not in known])
        if answered:
            await self._database.write(lambda session: self._store(session, batch_id, answered))

    async def finish(self, batch_id: str) -> None:
        """Write the batch's files and end it; a line without an answer is told why in the error file."""
        await self._database.write(lambda session: _finalize(session, batch_id))
        await run_in_threadpool(self._finish, batch_id)
        self._stops.pop(batch_id, None)

    async def give_up(self, batch_id: str) -> None:
        """End a batch whose work came to nothing through a fault of ours."""
        fault = BatchFault(code="internal_error", message="the service failed at this batch; the fault is logged")
        await self._database.write(lambda session: _fail(session, batch_id, [fault]))

    def stop(self, batch_id: str) -> None:
        """Give up what is being answered of a batch that is cancelled."""
        if batch_id in self._stops:
            self._stops[batch_id].set()

    async def _answer(self, batch: Batch, lines: Iterable[Line]) -> list[_Answered]:
        """Return what came of `lines` until all are answered, the batch is cancelled or its time is over."""
        stop = self._stops.setdefault(batch.id, asyncio.Event())
        tasks = [asyncio.create_task(self._answer_line(batch, line)) for line in lines]
        if not tasks:
            return []
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(asyncio.wait(tasks)), asyncio.create_task(stop.wait())]
        try:
            left = (batch.expires_at - now()).total_seconds()
            await asyncio.wait(waits, timeout=max(0, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in [*waits, *tasks]:
                task.cancel()
            await asyncio.gather(*waits, *tasks, return_exceptions=True)
        return [task.result() for task in tasks if not task.cancelled()]

    async def _answer_line(self, batch: Batch, line: Line) -> _Answered:
        try:
            request = read_request(line, self._longest)
            body = request.body
            if body.seed is None:
                body = body.model_copy(update={"seed": (batch.seed + line.number) % DRAWN_SEEDS})
            drawn = await self._draw(body)
        except (ServiceError, RejoinderError) as error:
            return _Answered(line.number, True, failure(batch.id, line, from_exception(error)))
        completion = self._chat.completion(body, drawn)
        return _Answered(line.number, False, success(batch.id, line, request.custom_id, completion), drawn)

    async def _draw(self, body: CompletionRequest) -> Drawn:
        """Have one line drawn, however long those who wait before a screen go first."""
        losses = 0
        while True:
            try:
                return await self._chat.draw_completion(body, Urgency.BATCH)
            except OverloadedError as error:
                await asyncio.sleep(float(error.headers["Retry-After"]))
            except UnavailableError as error:
                if error.code == "stopping":  # whoever comes next goes on: this process is to say no more
                    await asyncio.Event().wait()
                losses += error.code == "engine_lost"
                if losses == _ATTEMPTS:
                    raise
                await asyncio.sleep(_PAUSE)

    def _store(self, session: Session, batch_id: str, answered: Iterable[_Answered]) -> None:
        batch = repository.get(session, batch_id, lock=True)
        if batch is None or batch.status not in UNFINISHED:
            return  # another one, who took us for dead, was faster
        stored = [
            one for one in answered if repository.add_line(session, batch, one.number, one.text, failed=one.failed)
        ]
        drawn = [one.drawn for one in stored if one.drawn is not None]
        if drawn:
            keep(session, drawn)

    def _finish(self, batch_id: str) -> None:
        with self._storage.draft() as output, self._storage.draft() as errors:
            with self._database.reading() as session:
                batch = repository.get(session, batch_id)
                if batch is None or batch.status not in UNFINISHED:
                    return
                left_out = _left_out(batch)
                answers = repository.lines(session, batch_id)
                answer = next(answers, None)
                completed = failed = 0
                for line in read_lines(self._storage.path(batch.input_file_id)):
                    if answer is not None and answer[0] == line.number:
                        _, is_failure, text = answer
                        answer = next(answers, None)
                    else:
                        is_failure, text = True, failure(batch_id, line, left_out, begun=False)
                    (errors if is_failure else output).write(text.encode() + b"\n")
                    failed += is_failure
                    completed += not is_failure
            output.flush()
            errors.flush()
            with self._database.writing() as session:
                batch = repository.get(session, batch_id, lock=True)
                if batch is None or batch.status not in UNFINISHED:
                    return
                for kind, draft in (("output", output), ("error", errors)):
                    if draft.size:
                        file_id = new_file_id()
                        name = f"{batch_id}_{kind}.jsonl"
                        files.add(session, file_id, "batch_output", name, draft.size, batch.owner_id)
                        setattr(batch, f"{kind}_file_id", file_id)
                        self._storage.keep(draft, file_id)  # a rename; if the commit fails, a stray file is left
                batch.status = _end_of(batch)
                batch.completed, batch.failed = completed, failed
                batch.ended_at = now()
                repository.delete_lines(session, batch_id)


def _begin(session: Session, batch_id: str, found: Plan) -> None:
    if found.faults:
        _fail(session, batch_id, found.faults)
        return
    batch = repository.get(session, batch_id, lock=True)
    if batch is None or batch.status not in UNFINISHED:
        return
    batch.total = found.total
    batch.in_progress_at = batch.in_progress_at or now()
    if batch.status == "validating":
        batch.status = "in_progress"


def _fail(session: Session, batch_id: str, faults: Iterable[BatchFault]) -> None:
    batch = repository.get(session, batch_id, lock=True)
    if batch is None or batch.status not in UNFINISHED:
        return
    batch.status = "failed"
    batch.faults = [fault.model_dump() for fault in faults]
    batch.ended_at = now()
    repository.delete_lines(session, batch_id)


def _finalize(session: Session, batch_id: str) -> None:
    batch = repository.get(session, batch_id, lock=True)
    if batch is not None and batch.status == "in_progress":
        batch.status = "finalizing"
        batch.finalizing_at = now()


def _end_of(batch: Batch) -> str:
    if batch.status == "cancelling":
        return "cancelled"
    return "completed" if batch.completed + batch.failed == batch.total else "expired"


def _left_out(batch: Batch) -> ServiceError:
    """Return why a line that has no answer has none."""
    if batch.status == "cancelling":
        return ServiceError("the batch was cancelled before this line was answered", code="batch_cancelled")
    return ServiceError("the completion window ended before this line was answered", code="batch_expired")
