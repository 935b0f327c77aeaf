"""The steps of a batch, done twice and at two places at once: nothing is answered twice, nothing is lost."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.batches import repository
from app.batches.tables import Batch, BatchLine
from app.batches.work import BatchWork
from app.chat.service import ChatService
from app.chat.tables import Response
from app.database import Database, now
from app.engines import ThreadEngine
from app.files import repository as files
from app.files.storage import Storage, new_file_id
from app.files.tables import StoredFile
from app.main import build_generation
from app.settings import Settings
from tests.app.fakes import FakeBot

COUNT = 150
ENDED = "update batch set status = 'completed', ended_at = current_timestamp"


@asynccontextmanager
async def working(database: Database, state: Path, bot: FakeBot) -> AsyncIterator[tuple[BatchWork, str, Storage]]:
    """Give work with one batch of 150 lines, the 70th of them broken; nobody else works at it."""
    settings = Settings(state=state)
    storage = Storage(state / "files")
    generation = build_generation(settings, [ThreadEngine([bot])])
    await generation.start()
    work = BatchWork(ChatService(generation.models, generation, database, settings), database, storage, settings)
    file_id = new_file_id()
    with storage.draft() as draft, database.writing() as session:
        for i in range(COUNT):
            body = {"model": "fake", "messages": [{"role": "user", "content": f"hello {i}"}]}
            row = {"custom_id": str(i), "method": "POST", "url": "/v1/chat/completions", "body": body}
            draft.write(b"broken\n" if i == 69 else json.dumps(row).encode() + b"\n")
        draft.flush()
        storage.keep(draft, file_id)
        files.add(session, file_id, "batch", "x", draft.size)
        session.add(
            Batch(
                id="batch_1",
                endpoint="/v1/chat/completions",
                input_file_id=file_id,
                completion_window="24h",
                seed=0,
                status="validating",
                created_at=now(),
                expires_at=now() + timedelta(days=1),
            )
        )
    try:
        yield work, "batch_1", storage
    finally:
        await generation.stop()


def batch_of(database: Database, batch_id: str) -> Batch:
    with database.reading() as session:
        return session.get_one(Batch, batch_id)


def count(database: Database, table: type) -> int:
    with database.reading() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def test_steps_may_be_done_twice_and_at_once(database: Database, tmp_path: Path) -> None:
    async def run() -> None:
        async with working(database, tmp_path, FakeBot()) as (work, batch_id, storage):
            starts, again = await asyncio.gather(work.read(batch_id), work.read(batch_id))
            assert starts == again
            assert [number for _, number in starts] == [1, 65, 129]
            assert batch_of(database, batch_id).total == COUNT
            steps = [work.answer(batch_id, *start) for start in starts for _ in range(3)]
            await asyncio.gather(*steps)
            await work.answer(batch_id, *starts[0])
            batch = batch_of(database, batch_id)
            assert (batch.completed, batch.failed) == (COUNT - 1, 1)
            assert count(database, Response) == COUNT - 1  # what was drawn a second time is nowhere
            await asyncio.gather(*(work.finish(batch_id) for _ in range(3)))
            await work.finish(batch_id)
            await work.answer(batch_id, *starts[1])  # one who took long, and finds all done
            batch = batch_of(database, batch_id)
            assert (batch.status, batch.completed, batch.failed) == ("completed", COUNT - 1, 1)
            assert count(database, BatchLine) == 0
            assert count(database, StoredFile) == 3
            assert len(list((tmp_path / "files").iterdir())) == 3
            assert batch.output_file_id is not None
            assert batch.error_file_id is not None
            output = [json.loads(line) for line in storage.path(batch.output_file_id).read_bytes().splitlines()]
            assert [row["custom_id"] for row in output] == [str(i) for i in range(COUNT) if i != 69]
            [error] = storage.path(batch.error_file_id).read_bytes().splitlines()
            assert json.loads(error)["error"]["line"] == 70

    asyncio.run(run())


def test_a_step_that_comes_after_the_end_stores_nothing(database: Database, tmp_path: Path) -> None:
    """The replies are being drawn when somebody else ends the batch."""

    async def run() -> None:
        bot = FakeBot(seconds=0.5)
        async with working(database, tmp_path, bot) as (work, batch_id, _):
            starts = await work.read(batch_id)
            step = asyncio.create_task(work.answer(batch_id, *starts[0]))
            while not bot.began.is_set():
                await asyncio.sleep(0.01)
            with database.writing() as session:
                session.execute(sa.text(ENDED))
            await step
            assert count(database, BatchLine) == count(database, Response) == 0

    asyncio.run(run())


def test_a_batch_that_came_to_nothing_says_so(database: Database, tmp_path: Path) -> None:
    async def run() -> None:
        async with working(database, tmp_path, FakeBot()) as (work, batch_id, storage):
            storage.remove(batch_of(database, batch_id).input_file_id)
            assert await work.read(batch_id) == []
            batch = batch_of(database, batch_id)
            assert batch.status == "failed"
            assert batch.faults is not None
            assert batch.faults[0]["code"] == "file_not_found"
            await work.give_up(batch_id)  # has ended: nothing more is said
            assert batch_of(database, batch_id).faults == batch.faults

    asyncio.run(run())


def test_who_lives_raises_a_count_and_who_is_dead_is_buried_once(database: Database) -> None:
    with database.writing() as session:
        repository.beat(session, "a")
        repository.beat(session, "a")
        repository.beat(session, "b")
        assert repository.replicas(session) == {"a": 2, "b": 1}
    with database.writing() as session:
        assert not repository.bury(session, "a", 1)  # it has moved since
        assert repository.bury(session, "a", 2)
        assert not repository.bury(session, "a", 2)
        repository.beat(session, "a")  # it was only slow
        repository.leave(session, "b")
        assert repository.replicas(session) == {"a": 1, "b": -1}


@pytest.mark.parametrize("fields", ["status = 'odd'", "completed = 1", "status = 'completed'", "failed = -1"])
def test_impossible_batches_cannot_be_stored(database: Database, tmp_path: Path, fields: str) -> None:
    async def run() -> None:
        async with working(database, tmp_path, FakeBot()):
            pass

    asyncio.run(run())
    with pytest.raises(sa.exc.IntegrityError), database.writing() as session:
        session.execute(sa.text(f"update batch set {fields}"))
