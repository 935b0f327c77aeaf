"""A client that leaves stops its own work and nobody else's."""

import asyncio
import json
import threading

import pytest
from starlette.types import Message

from app.settings import Settings
from tests.app.fakes import FakeBot, app_of

BODY = json.dumps({"model": "fake", "messages": [{"role": "user", "content": "hello"}]}).encode()
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "POST",
    "path": "/v1/chat/completions",
    "raw_path": b"/v1/chat/completions",
    "query_string": b"",
    "root_path": "",
    "scheme": "http",
    "headers": [(b"content-type", b"application/json")],
    "client": ("test", 1),
    "server": ("test", 80),
}


class Client:
    """One connection, spoken to in ASGI's own words."""

    def __init__(self, body: bytes = BODY, seconds: float = 0.0) -> None:
        self._body = body
        self._seconds = seconds
        self._sent = False
        self.left = asyncio.Event()
        self.answers: list[Message] = []

    async def receive(self) -> Message:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.answers.append(message)
        await asyncio.sleep(self._seconds)


@pytest.mark.parametrize("leaver", [0, 1])
def test_one_leaves_while_its_reply_is_drawn_or_waits(settings_here: Settings, leaver: int) -> None:
    bot = FakeBot(gate=threading.Event())
    app = app_of(settings_here, bot)

    async def work() -> None:
        async with app.router.lifespan_context(app), asyncio.timeout(20):
            clients = [Client(), Client(), Client()]
            tasks = [asyncio.create_task(app(dict(SCOPE), clients[0].receive, clients[0].send))]
            while not bot.began.is_set():  # the first is being drawn, the others will wait
                await asyncio.sleep(0.001)
            tasks += [asyncio.create_task(app(dict(SCOPE), c.receive, c.send)) for c in clients[1:]]
            await asyncio.sleep(0.05)
            clients[leaver].left.set()
            await tasks[leaver]  # returns although the gate is shut: nothing waits for a client who has left
            bot.gate.set()
            await asyncio.gather(*tasks)
            statuses = [client.answers[0]["status"] for client in clients]
            assert statuses == [499 if index == leaver else 200 for index in range(3)]
            assert sum(len(batch) for batch in bot.batches) == (3 if leaver == 0 else 2)

    asyncio.run(work())


@pytest.fixture
def settings_here(tmp_path) -> Settings:
    return Settings(state=tmp_path)
