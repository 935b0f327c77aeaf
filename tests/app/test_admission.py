"""Who is let in when more is asked for than can be written: those who would not wait long, by a rule and no clock."""

import asyncio
import threading
from typing import Any

import pytest

from app.errors import OverloadedError
from app.generation import Generation
from chatbot.engine.waiting import Urgency
from tests.app.fakes import FakeBot
from tests.app.test_generation import request, run

LANES = 4
WINDOW = 5  # one more waits at the engine's side


def ask(generation: Generation, urgency: Urgency, size: int = 1) -> "asyncio.Task[Any]":
    return asyncio.create_task(generation.answer("fake", [request("x", n=size)], urgency))


async def fill(generation: Generation, bot: FakeBot, count: int, urgency: Urgency) -> list["asyncio.Task[Any]"]:
    """Ask so many times at once, and return the requests once all are refused, in work or waiting."""
    tasks = [ask(generation, urgency) for _ in range(count)]
    await asyncio.to_thread(bot.began.wait)
    await asyncio.sleep(0.02)
    return tasks


def refused(tasks: list["asyncio.Task[Any]"]) -> int:
    return sum(task.done() and isinstance(task.exception(), OverloadedError) for task in tasks)


@pytest.mark.parametrize(("patience", "waiting"), [(1.0, WINDOW), (2.0, 2 * WINDOW), (0.2, 1)])
def test_as_many_wait_as_are_written_meanwhile(patience: float, waiting: int) -> None:
    bot = FakeBot(gate=threading.Event())

    async def work(generation: Generation) -> None:
        tasks = await fill(generation, bot, 100, Urgency.INTERACTIVE)
        assert (generation.writing, generation.waiting) == (WINDOW, waiting)
        assert refused(tasks) == 100 - WINDOW - waiting
        bot.gate.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (generation.writing, generation.waiting) == (0, 0)
        assert (await ask(generation, Urgency.INTERACTIVE))[0].answer.replies  # and all is as before

    run(work, bot, capacity=1000, lanes=LANES, patience=patience)


def test_lists_may_wait_long_and_take_no_place_before_the_screen() -> None:
    bot = FakeBot(gate=threading.Event())

    async def work(generation: Generation) -> None:
        lists = await fill(generation, bot, 100, Urgency.BATCH)
        assert refused(lists) == 100 - WINDOW - 50  # all of the capacity
        tasks = await fill(generation, bot, 20, Urgency.INTERACTIVE)
        assert refused(tasks) == 20 - WINDOW
        bot.gate.set()
        await asyncio.gather(*tasks, *lists, return_exceptions=True)

    run(work, bot, capacity=50, lanes=LANES, patience=1.0)
