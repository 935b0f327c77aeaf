"""The worker: batches, isolation, cancellation, back-pressure, and an event loop that stays free."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest

from app.errors import GenerationError, OverloadedError, UnavailableError
from app.generation import Generation
from chatbot.bot import ReplyRequest
from chatbot.errors import RequestError
from tests.app.fakes import FakeBot


@pytest.fixture
def generation() -> Iterator[Generation]:
    generation = Generation(capacity=8, batch_size=4)
    generation.start()
    yield generation
    generation.stop()


@pytest.fixture
def held() -> Iterator[FakeBot]:
    """Give a bot that waits for its gate."""
    bot = FakeBot(gate=threading.Event())
    yield bot
    bot.gate.set()


def request(text: str, **more: Any) -> ReplyRequest:
    return ReplyRequest(turns=(text,), **more)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def hold(generation: Generation, bot: FakeBot) -> "asyncio.Task[Any]":
    """Occupy the worker with one request."""
    task = asyncio.create_task(generation.answer(bot, [request("first")]))
    await until(bot.began.is_set)
    return task


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def texts(answers: Any) -> list[str]:
    return [answer.replies[0].text for answer in answers]


def test_what_waits_is_answered_together_within_the_batch_size(generation: Generation, held: FakeBot) -> None:
    async def work() -> None:
        first = await hold(generation, held)
        waiting = [asyncio.create_task(generation.answer(held, [request(str(i), seed=i)])) for i in range(6)]
        await asyncio.sleep(0.02)
        held.gate.set()
        assert texts(await first) == ["first, 0/0"]
        assert [texts(answers) for answers in await asyncio.gather(*waiting)] == [[f"{i}, {i}/0"] for i in range(6)]
        assert [len(batch) for batch in held.batches] == [1, 4, 2]

    run(work())


def test_candidates_count_towards_the_batch(generation: Generation, held: FakeBot) -> None:
    async def work() -> None:
        first = await hold(generation, held)
        waiting = [
            asyncio.create_task(generation.answer(held, [request(text, n=n, best_of=best_of)]))
            for text, n, best_of in [("a", 1, 3), ("b", 2, None), ("c", 1, None)]
        ]
        await asyncio.sleep(0.02)
        held.gate.set()
        await asyncio.gather(first, *waiting)
        assert [[one.turns[0] for one in batch] for batch in held.batches] == [["first"], ["a", "c"], ["b"]]

    run(work())


def test_models_are_never_mixed_and_none_starves(generation: Generation, held: FakeBot) -> None:
    other = FakeBot("other")

    async def work() -> None:
        first = await hold(generation, held)
        waiting = [asyncio.create_task(generation.answer(bot, [request("x")])) for bot in (held, other, held, other)]
        await asyncio.sleep(0.02)
        held.gate.set()
        await asyncio.gather(first, *waiting)
        assert [len(batch) for batch in held.batches] == [1, 2]
        assert [len(batch) for batch in other.batches] == [2]

    run(work())


def test_a_bad_request_does_not_fail_its_batch(generation: Generation, held: FakeBot) -> None:
    async def work() -> None:
        first = await hold(generation, held)
        waiting = [
            asyncio.create_task(generation.answer(held, [request(text)]))
            for text in ("good", "refuse me", "break down", "better")
        ]
        await asyncio.sleep(0.02)
        held.gate.set()
        await first
        good, refused, broken, better = await asyncio.gather(*waiting, return_exceptions=True)
        assert (texts(good), texts(better)) == (["good, 0/0"], ["better, 0/0"])
        assert isinstance(refused, RequestError)
        assert isinstance(broken, GenerationError)
        assert texts(await generation.answer(held, [request("after")])) == ["after, 0/0"]

    run(work())


def test_a_cancelled_request_is_not_drawn_and_hurts_nobody(generation: Generation, held: FakeBot) -> None:
    async def work() -> None:
        first = await hold(generation, held)
        gone = asyncio.create_task(generation.answer(held, [request("gone")]))
        stays = asyncio.create_task(generation.answer(held, [request("stays")]))
        await asyncio.sleep(0.02)
        gone.cancel()
        first.cancel()  # this one is being drawn: its answer finds nobody, and must not break the worker
        await asyncio.gather(gone, first, return_exceptions=True)
        held.gate.set()
        assert texts(await stays) == ["stays, 0/0"]
        assert [[one.turns[0] for one in batch] for batch in held.batches] == [["first"], ["stays"]]

    run(work())


def test_a_full_queue_refuses_and_recovers(generation: Generation, held: FakeBot) -> None:
    async def work() -> None:
        first = await hold(generation, held)
        waiting = [asyncio.create_task(generation.answer(held, [request("x", n=2)])) for _ in range(4)]
        await asyncio.sleep(0.02)
        with pytest.raises(OverloadedError) as caught:
            await generation.answer(held, [request("too much")])
        assert caught.value.status == 429
        assert int(caught.value.headers["Retry-After"]) >= 1
        waiting[0].cancel()
        await asyncio.sleep(0.02)
        waiting.append(asyncio.create_task(generation.answer(held, [request("fits again")])))
        await asyncio.sleep(0.02)
        held.gate.set()
        await asyncio.gather(first, *waiting, return_exceptions=True)
        assert texts(await waiting[-1]) == ["fits again, 0/0"]

    run(work())


def test_the_event_loop_turns_while_a_reply_is_drawn(generation: Generation, held: FakeBot) -> None:
    async def work() -> None:
        first = await hold(generation, held)
        turns = 0
        for _ in range(100):  # would never get here if the loop were blocked: only this loop opens the gate
            await asyncio.sleep(0)
            turns += 1
        assert not first.done()
        held.gate.set()
        await first
        assert turns == 100

    run(work())


def test_stopping_refuses_what_waits(held: FakeBot) -> None:
    generation = Generation(capacity=8, batch_size=4)
    generation.start()

    async def work() -> None:
        first = await hold(generation, held)
        waiting = asyncio.create_task(generation.answer(held, [request("waits")]))
        await asyncio.sleep(0.02)
        stopping: Awaitable[None] = asyncio.get_running_loop().run_in_executor(None, generation.stop)
        await asyncio.sleep(0.02)
        with pytest.raises(UnavailableError):
            await generation.answer(held, [request("late")])
        held.gate.set()
        assert texts(await first) == ["first, 0/0"]
        with pytest.raises(UnavailableError):
            await waiting
        await stopping

    run(work())
