"""Completions as server-sent events, in the words of the wire and through OpenAI's own client."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from openai import OpenAI

from app.settings import Settings
from chatbot.bot import Bot
from chatbot.request import Decoding, ReplyRequest
from tests.app.fakes import FakeBot, app_of
from tests.app.owners import PUBLIC, bearer, key_headers
from tests.app.test_disconnection import SCOPE, Client

GOLDEN = Path(__file__).parents[2] / "golden"
HELLO: list[Any] = [{"role": "user", "content": "hello"}]


def events(client: TestClient, **more: object) -> list[Any]:
    body = {"model": "fake", "messages": HELLO, "stream": True, **more}
    with client.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        content = response.read().decode()
    frames = [frame for frame in content.split("\n\n") if frame]
    assert all(frame.startswith(("data: ", ": ")) for frame in frames)
    return [
        frame if frame.startswith(":") or frame.endswith("[DONE]") else json.loads(frame.removeprefix("data: "))
        for frame in frames
    ]


def test_a_stream_has_the_wire_format(client: TestClient) -> None:
    *chunks, done = events(client, seed=7, n=2)
    assert done == "data: [DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["system_fingerprint"]) for chunk in chunks}) == 1
    assert [chunk["choices"][0]["delta"] for chunk in chunks[:2]] == [{"role": "assistant", "content": ""}] * 2
    for index in (0, 1):
        mine = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
        assert "".join(choice["delta"].get("content", "") for choice in mine) == f"hello, 7/{index}"
        assert [choice["finish_reason"] for choice in mine] == [None] * (len(mine) - 1) + ["stop"]
        assert len({choice["reply_id"] for choice in mine}) == 1
        assert mine[-1]["discriminator_score"] == pytest.approx(0.9 - 0.01 * index)
    assert chunks[-1]["seed"] == 7
    assert chunks[-1]["turns_used"] == 1
    assert not any("usage" in chunk for chunk in chunks)


def test_usage_comes_last_when_asked_for(client: TestClient) -> None:
    *chunks, usage, _ = events(client, stream_options={"include_usage": True})
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 1, "completion_tokens": 5, "total_tokens": 6}
    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)


def test_a_streamed_reply_is_stored_before_it_is_said_to_be_whole(client: TestClient, rows: Callable) -> None:
    chunks = events(client, seed=3)
    [stored] = rows(client, "response")
    assert (stored["id"], stored["text"], stored["seed"]) == (chunks[0]["id"], "hello, 3/0", 3)


def test_ranked_replies_come_in_one_piece_best_first(client: TestClient) -> None:
    *chunks, _ = events(client, best_of=4, n=2, seed=1)
    contents = [choice["delta"]["content"] for chunk in chunks for choice in chunk["choices"] if choice["delta"]]
    assert contents == ["", "", "hello, 1/0", "hello, 1/1"]


def test_what_is_wrong_from_the_beginning_is_an_ordinary_error(client: TestClient) -> None:
    for text, status in (("refuse me", 400), ("break down", 500)):
        body = {"model": "fake", "messages": [{"role": "user", "content": text}], "stream": True}
        response = client.post("/v1/chat/completions", json=body)
        assert response.status_code == status
        assert set(response.json()) == {"error"}


def test_what_goes_wrong_later_is_an_error_frame_and_the_end(client: TestClient) -> None:
    with client.app.state.database.engine.connect() as connection:  # type: ignore[attr-defined]
        connection.exec_driver_sql(
            "create trigger full before insert on response begin select raise(abort, 'disk is full'); end"
        )
        connection.commit()
    *chunks, error = events(client)
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert set(error) == {"error"}
    assert set(error["error"]) == {"message", "type", "param", "code"}


def test_a_silent_stream_pings(start: Callable[..., TestClient]) -> None:
    client = start(FakeBot(seconds=0.5), ping_seconds=0.1)
    found = events(client)
    assert found.count(": ping") >= 2
    assert found[-1] == "data: [DONE]"


def test_a_reader_who_leaves_frees_his_lane(tmp_path: Any) -> None:
    bot = FakeBot(gate=threading.Event())
    app = app_of(Settings(state=tmp_path, ping_seconds=0.05), bot)
    body = json.dumps({"model": "fake", "messages": HELLO, "stream": True}).encode()

    async def work() -> None:
        async with app.router.lifespan_context(app), asyncio.timeout(20):
            generation = app.state.generation
            client = Client(body)
            task = asyncio.create_task(app(dict(SCOPE), client.receive, client.send))
            while len(client.answers) < 3:  # the head, the role and a ping: it is in the middle
                await asyncio.sleep(0.01)
            assert generation.writing == 1
            client.left.set()
            await task
            assert generation.writing == 0
            assert bot.gate is not None
            bot.gate.set()
            assert not any(message.get("body", b"").endswith(b"[DONE]\n\n") for message in client.answers)

    asyncio.run(work())


def test_a_slow_readers_pieces_are_joined(tmp_path: Any) -> None:
    bot = FakeBot()
    app = app_of(Settings(state=tmp_path, guards=False), bot)  # guards hold the end of a text back
    body = json.dumps({"model": "fake", "messages": HELLO, "stream": True, "seed": 1}).encode()

    async def work() -> None:
        async with app.router.lifespan_context(app), asyncio.timeout(20):
            client = Client(body, seconds=0.2)
            await app(dict(SCOPE), client.receive, client.send)
            frames = [message.get("body", b"") for message in client.answers]
            # The head, and one body: its role, the two pieces of its text as one, its end.
            assert [frame.count(b"data: ") for frame in frames] == [0, 4]
            assert b'"content":"hello, 1/0"' in frames[1]

    asyncio.run(work())


# Through the official client


@pytest.fixture
def official(serve: Callable[[FastAPI], str], tmp_path: Any) -> Iterator[OpenAI]:
    address = serve(app_of(Settings(state=tmp_path), FakeBot()))
    with OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_the_official_client_creates(official: OpenAI) -> None:
    answer = official.chat.completions.create(model="fake", messages=HELLO, seed=5, n=2, stop=["never"], user="me")
    assert [choice.message.content for choice in answer.choices] == ["hello, 5/0", "hello, 5/1"]
    assert answer.usage is not None
    assert answer.usage.total_tokens == 11
    assert answer.choices[0].finish_reason == "stop"


def test_the_official_client_streams(official: OpenAI) -> None:
    chunks = list(
        official.chat.completions.create(
            model="fake", messages=HELLO, seed=5, stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "hello, 5/0"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5
    with official.chat.completions.stream(model="fake", messages=HELLO, seed=6) as stream:
        done = [event for event in stream if event.type == "content.done"]
    assert [event.content for event in done] == ["hello, 6/0"]
    assert stream.get_final_completion().choices[0].message.content == "hello, 6/0"


def test_the_official_client_lists_models(official: OpenAI) -> None:
    assert [model.id for model in official.models.list()] == ["fake"]
    assert official.models.retrieve("fake").owned_by == "rejoinder"


def test_the_official_client_understands_errors(official: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        official.chat.completions.create(model="fake", messages=HELLO, temperature=9.0, n=0)
    assert bad.value.param == "n"
    with pytest.raises(openai.NotFoundError) as missing:
        official.chat.completions.create(model="none", messages=HELLO)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.InternalServerError):
        official.chat.completions.create(model="fake", messages=[{"role": "user", "content": "break down"}])


def test_the_official_client_sees_an_error_in_mid_stream(serve: Callable[[FastAPI], str], tmp_path: Any) -> None:
    app = app_of(Settings(state=tmp_path, ping_seconds=0.05), FakeBot(seconds=0.3))
    with OpenAI(base_url=f"{serve(app)}/v1", api_key="none", max_retries=0) as client:
        stream = client.chat.completions.create(
            model="fake", messages=[{"role": "user", "content": "break down"}], stream=True
        )
        with pytest.raises(openai.APIError, match="failed"):  # the pings had gone out before it broke
            list(stream)


def test_the_official_client_waits_and_comes_again_when_the_queue_is_full(
    serve: Callable[[FastAPI], str], tmp_path: Any
) -> None:
    bot = FakeBot(gate=threading.Event())
    app = app_of(Settings(state=tmp_path, queue_capacity=1, batch_size=1), bot)
    address = serve(app)
    with OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as impatient:
        pool = [
            threading.Thread(target=lambda: impatient.chat.completions.create(model="fake", messages=HELLO, n=2))
            for _ in range(2)
        ]
        for thread in pool:
            thread.start()
        while app.state.generation.waiting == 0:
            time.sleep(0.01)
        with pytest.raises(openai.RateLimitError) as full:
            impatient.chat.completions.create(model="fake", messages=HELLO)
        assert int(full.value.response.headers["Retry-After"]) >= 1
        assert bot.gate is not None
        threading.Timer(0.5, bot.gate.set).start()
        patient = impatient.with_options(max_retries=3)
        assert patient.chat.completions.create(model="fake", messages=HELLO, seed=1).choices[0].message.content
        for thread in pool:
            thread.join(10)


# Under load, on a real bundle


def test_two_hundred_streams_half_of_them_dropped_leave_nothing_behind(
    serve: Callable[[FastAPI], str], tmp_path: Any
) -> None:
    bot = Bot.load(GOLDEN / "recurrent", "cpu", lanes=16)
    app = app_of(Settings(state=tmp_path, batch_size=16, patience=20), bot)
    address = serve(app)
    expected = {seed: bot_alone(seed) for seed in range(10)}
    ends: list[tuple[int, str, bool]] = []

    async def read(client: httpx.AsyncClient, index: int) -> None:
        body = {
            "model": "recurrent",
            "messages": [{"role": "user", "content": "how are you?"}],
            "temperature": 1,
            "seed": index % 10,
            "stream": True,
        }
        text, done = "", False
        async with client.stream("POST", f"{address}/v1/chat/completions", json=body) as response:
            assert response.status_code == 200
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    for choice in json.loads(line.removeprefix("data: "))["choices"]:
                        text += choice["delta"].get("content", "")
                    if text and index % 2:
                        return  # slams the door
                done = done or line.endswith("[DONE]")
        ends.append((index % 10, text, done))

    async def work() -> None:
        limits = httpx.Limits(max_connections=None)
        async with asyncio.timeout(100), httpx.AsyncClient(timeout=90, limits=limits) as client:
            await asyncio.gather(*(read(client, index) for index in range(200)))
            generation = app.state.generation
            while generation.writing or generation.waiting or bot.busy:
                await asyncio.sleep(0.01)
            await read(client, 0)

    asyncio.run(work())
    assert len(ends) == 101
    assert all(done and text == expected[seed] for seed, text, done in ends)


def bot_alone(seed: int) -> str:
    """Return what the golden bundle says to this seed when nobody else asks."""
    bot = Bot.load(GOLDEN / "recurrent", "cpu", lanes=1)
    return bot.answer([ReplyRequest(["how are you?"], Decoding(temperature=1.0), seed)])[0].replies[0].text


# Who may have models loaded anew


def test_only_an_administrator_has_models_loaded_anew(start: Callable[..., TestClient]) -> None:
    guarded = start(FakeBot(), **PUBLIC)
    assert guarded.post("/v1/models/reload").status_code == 401
    assert guarded.post("/v1/models/reload", headers=bearer("wrong")).status_code == 401
    response = guarded.post("/v1/models/reload", headers=key_headers(guarded, "chat", "rate"))
    assert (response.status_code, response.json()["error"]["code"]) == (403, "insufficient_scope")
    # This one was made with its models: there is no directory to look into, and it says so.
    response = guarded.post("/v1/models/reload", headers=key_headers(guarded, "admin"))
    assert response.status_code == 400
    assert "nothing to load anew" in response.json()["error"]["message"]
    assert [
        model["id"] for model in guarded.get("/v1/models", headers=key_headers(guarded, "chat")).json()["data"]
    ] == ["fake"]
