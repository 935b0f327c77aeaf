"""The queue before the engines: isolation, cancellation, back-pressure, deadlines, fairness, engines that die."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import pytest

from app.engines import Deliver, ThreadEngine
from app.errors import GenerationError, OverloadedError, UnavailableError
from app.generation import Generation
from app.models import Models
from chatbot.engine.waiting import Urgency
from chatbot.errors import RejoinderError, RequestError
from chatbot.messages import Begin, Ended, Loaded, Order
from chatbot.request import ReplyRequest
from chatbot.worker import card_of
from tests.app.fakes import FakeBot


@pytest.fixture
def held() -> Iterator[FakeBot]:
    """Give a bot that waits for its gate."""
    bot = FakeBot(gate=threading.Event())
    yield bot
    assert bot.gate is not None
    bot.gate.set()


def request(text: str, **more: Any) -> ReplyRequest:
    return ReplyRequest(turns=(text,), **more)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def run(work: Callable[[Generation], Coroutine[Any, Any, None]], *bots: FakeBot, **settings: Any) -> None:
    """Run `work` with a started queue before an engine of `bots`, four lanes each."""

    async def whole() -> None:
        engines = settings.pop("engines", None) or [ThreadEngine(bots)]
        generation = Generation(engines, Models(), **{"capacity": 8, "lanes": 4, "patience": 100.0, **settings})
        await generation.start()
        try:
            async with asyncio.timeout(20):
                await work(generation)
        finally:
            for bot in bots:
                if bot.gate is not None:
                    bot.gate.set()
            await generation.stop()

    asyncio.run(whole())


async def ask(generation: Generation, *texts: str, model: str = "fake", **more: Any) -> list[str]:
    answered = await generation.answer(model, [request(text, **more) for text in texts])
    return [one.answer.replies[0].text for one in answered]


def later(*arguments: Any, **more: Any) -> "asyncio.Task[list[str]]":
    return asyncio.create_task(ask(*arguments, **more))


async def hold(generation: Generation, bot: FakeBot, **more: Any) -> "asyncio.Task[list[str]]":
    """Occupy the engine with one request."""
    task = later(generation, "first", model=bot.name, **more)
    await until(bot.began.is_set)
    return task


def test_what_waits_is_written_side_by_side_within_the_lanes(held: FakeBot) -> None:
    async def work(generation: Generation) -> None:
        first = await hold(generation, held)
        waiting = [later(generation, str(i), seed=i) for i in range(6)]
        await asyncio.sleep(0.02)
        assert generation.waiting == 2  # four lanes and one that waits at the engine's side
        held.gate.set()
        assert await first == ["first, 0/0"]
        assert await asyncio.gather(*waiting) == [[f"{i}, {i}/0"] for i in range(6)]
        assert generation.waiting == generation.writing == 0

    run(work, held)


def test_a_bad_request_hurts_no_other(held: FakeBot) -> None:
    async def work(generation: Generation) -> None:
        first = await hold(generation, held)
        waiting = [later(generation, text) for text in ("good", "refuse me", "break down", "better")]
        await asyncio.sleep(0.02)
        held.gate.set()
        await first
        good, refused, broken, better = await asyncio.gather(*waiting, return_exceptions=True)
        assert (good, better) == (["good, 0/0"], ["better, 0/0"])
        assert isinstance(refused, RequestError)
        assert isinstance(broken, GenerationError)
        assert await ask(generation, "after") == ["after, 0/0"]

    run(work, held)


def test_a_cancelled_request_is_not_written_and_hurts_nobody(held: FakeBot) -> None:
    async def work(generation: Generation) -> None:
        first = await hold(generation, held)
        gone, stays = later(generation, "gone"), later(generation, "stays")
        await asyncio.sleep(0.02)
        gone.cancel()
        first.cancel()  # this one is being written: its answer finds nobody
        await asyncio.gather(gone, first, return_exceptions=True)
        held.gate.set()
        assert await stays == ["stays, 0/0"]
        assert [[one.turns[0] for one in batch] for batch in held.batches] == [["first"], ["stays"]]
        assert generation.writing == 0

    run(work, held)


def test_a_full_queue_refuses_and_recovers(held: FakeBot) -> None:
    async def work(generation: Generation) -> None:
        first = await hold(generation, held, n=5)
        waiting = [later(generation, "x", n=2) for _ in range(4)]
        await asyncio.sleep(0.02)
        with pytest.raises(OverloadedError) as caught:
            await ask(generation, "too much")
        assert caught.value.status == 429
        assert int(caught.value.headers["Retry-After"]) >= 1
        waiting[0].cancel()
        await asyncio.sleep(0.02)
        waiting.append(later(generation, "fits again"))
        await asyncio.sleep(0.02)
        held.gate.set()
        await asyncio.gather(first, *waiting, return_exceptions=True)
        assert await waiting[-1] == ["fits again, 0/0"]

    run(work, held)


def test_who_waits_too_long_is_told_so_and_is_not_written(held: FakeBot) -> None:
    async def work(generation: Generation) -> None:
        first = await hold(generation, held, n=5)
        with pytest.raises(UnavailableError) as caught:
            await ask(generation, "too late")
        assert (caught.value.status, caught.value.code) == (503, "queue_deadline")
        assert int(caught.value.headers["Retry-After"]) >= 1
        held.gate.set()
        await first
        assert [len(batch) for batch in held.batches] == [1]

    run(work, held, queue_seconds=0.05)


def test_who_sits_before_the_screen_goes_before_lists_and_models_take_turns(held: FakeBot) -> None:
    other = FakeBot("other")

    async def work(generation: Generation) -> None:
        first = await hold(generation, held, n=5)
        listed = asyncio.create_task(generation.answer("fake", [request("list", n=5)], Urgency.BATCH))
        await asyncio.sleep(0.01)
        now = later(generation, "now", n=5)
        await asyncio.sleep(0.02)
        assert generation.waiting == 10
        held.gate.set()
        await asyncio.gather(first, listed, now)
        assert [batch[0].turns[0] for batch in held.batches] == ["first", "now", "list"]
        assert await ask(generation, "x", model="other") == ["x, 0/0"]

    run(work, held, other, capacity=20)


def test_a_stream_tells_pieces_and_then_the_whole(held: FakeBot) -> None:
    async def work(generation: Generation) -> None:
        stream = generation.stream("fake", request("hello", n=2))
        assert await stream.next(0.01) is None  # nothing yet: time for a ping
        held.gate.set()
        texts = {0: "", 1: ""}
        ended = None
        while ended is None:
            update = await stream.next(5)
            assert update is not None
            ended = update.ended
            for choice, text in update.texts.items():
                texts[choice] += text
        assert [reply.text for reply in ended.answer.replies] == list(texts.values()) == ["hello, 0/0", "hello, 0/1"]

    run(work, held)


def test_a_closed_stream_is_given_up(held: FakeBot) -> None:
    async def work(generation: Generation) -> None:
        first = await hold(generation, held)
        stream = generation.stream("fake", request("hello"))
        assert generation.writing == 2
        stream.close()
        assert generation.writing == 1
        held.gate.set()
        await first
        assert [len(batch) for batch in held.batches] == [1]

    run(work, held)


def test_a_failed_stream_says_so() -> None:
    async def work(generation: Generation) -> None:
        for text, error in (("refuse me", RequestError), ("break down", GenerationError)):
            stream = generation.stream("fake", request(text))
            with pytest.raises(error):
                await stream.next(5)

    run(work, FakeBot())


class Mortal:
    """An engine that answers when told to, dies when told to, and comes back."""

    def __init__(self, fault: str | None = None) -> None:
        self.orders: list[Order] = []
        self.messages = 0
        self.starts = 0
        self.kills = 0
        self.fault = fault

    def start(self, deliver: Deliver, lost: Callable[[], None]) -> None:
        self.starts += 1
        self.deliver, self.lost = deliver, lost
        deliver([Loaded((card_of(FakeBot()),), fault=self.fault)])

    def put(self, orders: Sequence[Order]) -> None:
        self.orders += orders
        self.messages += 1

    def answer(self) -> None:
        bot = FakeBot()
        events: list[Any] = []
        for order in self.orders:
            bot.begin(order.key, order.request)  # type: ignore[union-attr]
        events += [event for event in bot.step() if isinstance(event, Ended)]
        self.orders.clear()
        self.deliver(events)

    def kill(self) -> None:
        self.kills += 1
        self.lost()

    def stop(self) -> None:
        pass


def test_an_engine_that_dies_answers_what_it_held_and_comes_back() -> None:
    engine = Mortal()

    async def work(generation: Generation) -> None:
        held = [later(generation, "a"), later(generation, "b")]
        await asyncio.sleep(0.01)
        engine.lost()
        errors = await asyncio.gather(*held, return_exceptions=True)
        assert [(type(error), error.code) for error in errors] == [(UnavailableError, "engine_lost")] * 2  # type: ignore[union-attr]
        await until(lambda: engine.starts == 2)
        engine.orders.clear()
        again = later(generation, "c")
        await asyncio.sleep(0.01)
        engine.answer()
        assert await again == ["c, 0/0"]
        assert generation.writing == 0

    run(work, engines=[engine])


def test_an_engine_that_is_silent_is_ended() -> None:
    engine = Mortal()

    async def work(generation: Generation) -> None:
        with pytest.raises(UnavailableError, match="died"):
            await ask(generation, "a")
        assert engine.kills == 1

    run(work, engines=[engine], silence_seconds=0.05)


def test_work_is_spread_over_engines() -> None:
    engines = [Mortal(), Mortal()]

    async def work(generation: Generation) -> None:
        waiting = [later(generation, str(i)) for i in range(4)]
        await asyncio.sleep(0.01)
        assert [len(engine.orders) for engine in engines] == [2, 2]
        for engine in engines:
            engine.answer()
        await asyncio.gather(*waiting)

    run(work, engines=engines)


def test_what_comes_at_the_same_moment_is_one_message_to_the_engine() -> None:
    engine = Mortal()

    async def work(generation: Generation) -> None:
        waiting = [later(generation, str(i)) for i in range(4)]
        await until(lambda: len(engine.orders) == 4)
        assert engine.messages == 1
        waiting[0].cancel()
        waiting[1].cancel()
        await until(lambda: len(engine.orders) == 6)
        assert engine.messages == 2
        engine.orders = [order for order in engine.orders if isinstance(order, Begin)]
        engine.answer()
        await asyncio.gather(*waiting[2:])

    run(work, engines=[engine])


def test_models_that_cannot_be_loaded_end_the_start() -> None:
    async def work(_: Generation) -> None:
        raise AssertionError

    with pytest.raises(RejoinderError, match="truncated"):
        run(work, engines=[Mortal(fault="generator.safetensors is truncated")])


def test_the_event_loop_turns_while_a_reply_is_written_and_stopping_refuses_what_waits(held: FakeBot) -> None:
    async def work(generation: Generation) -> None:
        first = await hold(generation, held, n=5)
        waiting: Sequence[asyncio.Task[list[str]]] = [later(generation, "waits")]
        for _ in range(100):  # would never get here if the loop were blocked: only this loop opens the gate
            await asyncio.sleep(0)
        generation.drain()
        with pytest.raises(UnavailableError, match="stopping"):
            await ask(generation, "late")
        held.gate.set()
        assert await first == ["first, 0/0"]
        assert await asyncio.gather(*waiting) == [["waits, 0/0"]]  # what was taken is answered

    run(work, held)
