"""Replies that are ready together are stored together, and none pays for another."""

import asyncio
from dataclasses import replace

import pytest
import sqlalchemy as sa

from app.chat.storing import Drawn, ReplyStore
from app.chat.tables import Context, Response, System
from app.database import Database
from chatbot.messages import ModelCard, ModelLimits
from chatbot.request import Answer, Decoding, Reply, ReplyRequest

CARD = ModelCard("m", "f" * 64, "", ModelLimits(32, 8), has_discriminator=False, device="cpu")


def drawn(name: str, *, max_tokens: int = 5, text: str = "hi") -> Drawn:
    request = ReplyRequest(turns=(f"hello {name}",), decoding=Decoding(max_tokens=max_tokens), seed=3)
    reply = Reply(text=text, finish_reason="stop", tokens=2, score=None)
    return Drawn(CARD, request, Answer(replies=(reply,), context_tokens=2, turns_used=1), (f"reply-{name}",), 4)


def counts(database: Database) -> tuple[int, ...]:
    with database.reading() as session:
        return tuple(
            session.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table in (Response, Context, System)
        )


def test_what_comes_together_is_stored_together(database: Database) -> None:
    units = []
    sa.event.listen(database.engine, "commit", lambda connection: units.append(connection))

    async def work() -> None:
        store = ReplyStore(database)
        async with asyncio.TaskGroup() as group:
            for index in range(40):
                group.create_task(store.store([drawn(str(index), max_tokens=5 + index % 2)]))

    asyncio.run(work())
    assert counts(database) == (40, 40, 2)
    assert len(units) <= 3


def test_one_that_cannot_be_stored_hurts_no_other(database: Database) -> None:
    async def work() -> list[BaseException | None]:
        store = ReplyStore(database)
        await store.store([drawn("there")])
        calls = [store.store([drawn(name)]) for name in ("a", "there", "b")]  # an id that is taken
        return await asyncio.gather(*calls, return_exceptions=True)

    first, second, third = asyncio.run(work())
    assert first is None
    assert isinstance(second, sa.exc.IntegrityError)
    assert third is None
    assert counts(database)[0] == 3


def test_a_client_that_leaves_takes_nobody_with_it(database: Database) -> None:
    async def work() -> None:
        store = ReplyStore(database)
        leaving = asyncio.create_task(store.store([drawn("leaving")]))
        staying = asyncio.create_task(store.store([drawn("staying")]))
        await asyncio.sleep(0)
        leaving.cancel()
        await staying
        with pytest.raises(asyncio.CancelledError):
            await leaving
        await store.store([drawn("later")])

    asyncio.run(work())
    assert counts(database)[0] == 3


def test_the_same_context_in_one_unit_is_one_row(database: Database) -> None:
    async def work() -> None:
        twice = replace(drawn("x"), reply_ids=("reply-y",))
        await ReplyStore(database).store([drawn("x"), twice])

    asyncio.run(work())
    assert counts(database) == (2, 1, 1)
