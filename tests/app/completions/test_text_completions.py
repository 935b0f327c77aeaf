"""`POST /v1/completions`: prompts in place of messages, through OpenAI's own client and in the words of the wire."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from openai import OpenAI

from app.chat.schemas import ChoiceLogprobs, ContentLogprob
from app.completions.streaming import text_logprobs
from app.settings import Settings
from chatbot.bot import Bot
from tests.app.fakes import FakeBot, app_of

GOLDEN = Path(__file__).parents[2] / "golden" / "recurrent"


@pytest.fixture
def official(serve: Callable[[FastAPI], str], tmp_path: Path) -> Iterator[OpenAI]:
    real = Bot.load(GOLDEN, "cpu", lanes=4, precision="fp32")
    app = app_of(Settings(state=tmp_path), FakeBot(), real)  # type: ignore[arg-type]
    with OpenAI(base_url=f"{serve(app)}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_prompt_is_answered_as_a_message_is(official: OpenAI) -> None:
    answer = official.completions.create(model="fake", prompt="hello", seed=7, n=2, best_of=3, user="me")
    assert answer.object == "text_completion"
    assert [(one.index, one.text, one.finish_reason) for one in answer.choices] == [
        (0, "hello, 7/0", "stop"),
        (1, "hello, 7/1", "stop"),
    ]
    assert answer.usage is not None
    assert answer.usage.total_tokens == 11
    wanted: Any = {"model": "recurrent", "seed": 3, "max_tokens": 6, "temperature": 1.0, "top_p": 0.9, "stop": ["e"]}
    chat = official.chat.completions.create(messages=[{"role": "user", "content": "how are you?"}], **wanted)
    text = official.completions.create(prompt="how are you?", **wanted)
    assert text.choices[0].text == chat.choices[0].message.content
    assert text.system_fingerprint == chat.system_fingerprint


def test_each_of_several_prompts_has_its_own_seed(official: OpenAI) -> None:
    answer = official.completions.create(model="fake", prompt=["a", "b"], seed=7, n=2)
    assert [one.text for one in answer.choices] == ["a, 7/0", "a, 7/1", "b, 8/0", "b, 8/1"]
    assert [one.index for one in answer.choices] == [0, 1, 2, 3]
    assert official.completions.create(model="fake", prompt="b", seed=8, n=2).choices[1].text == "b, 8/1"
    last = official.completions.create(model="fake", prompt=["a", "b"], seed=2**63 - 1)
    assert [choice.text for choice in last.choices] == [f"a, {2**63 - 1}/0", "b, 0/0"]  # as lists of contexts do


def test_it_streams(official: OpenAI) -> None:
    wanted: Any = {"model": "recurrent", "prompt": "how are you?", "seed": 5, "max_tokens": 12, "temperature": 1.0}
    whole = official.completions.create(**wanted, logprobs=2).choices[0]
    chunks = list(official.completions.create(**wanted, stream=True, stream_options={"include_usage": True}))
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == whole.text
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == whole.finish_reason
    assert chunks[-1].usage is not None
    assert 1 < chunks[-1].usage.completion_tokens <= 12

    told = [
        choice.logprobs
        for chunk in official.completions.create(**wanted, logprobs=2, stream=True)
        for choice in chunk.choices
        if choice.logprobs is not None
    ]
    assert whole.logprobs is not None
    for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        assert [value for one in told for value in getattr(one, name)] == getattr(whole.logprobs, name)


def test_log_probabilities_are_parallel_lists(official: OpenAI) -> None:
    [choice] = official.completions.create(
        model="recurrent", prompt="how are you?", seed=5, max_tokens=12, temperature=1.0, logprobs=2
    ).choices
    found = choice.logprobs
    assert found is not None
    assert found.tokens is not None
    assert found.text_offset is not None
    assert "".join(found.tokens) == choice.text
    assert [choice.text[at:].startswith(token) for at, token in zip(found.text_offset, found.tokens, strict=True)] == [
        True
    ] * len(found.tokens)
    assert all(len(top) == 2 for top in found.top_logprobs or ())
    assert all(number <= 0 for number in found.token_logprobs or ())


def test_offsets_count_characters_where_a_token_is_a_part_of_one() -> None:
    parts = ["你".encode()[:2], "你".encode()[2:], b"ab", "好".encode()]
    content = [
        ContentLogprob(token=part.decode("utf-8", "replace"), logprob=-1.0, bytes=list(part), top_logprobs=[])
        for part in parts
    ]
    assert text_logprobs(ChoiceLogprobs(content=content)).text_offset == [0, 0, 1, 3]
    assert text_logprobs(ChoiceLogprobs(content=content[2:]), "你".encode()).text_offset == [1, 3]


def test_every_reply_is_stored(client: TestClient, rows: Callable) -> None:
    body = {"model": "fake", "prompt": ["a", "b"], "n": 2}
    told = client.post("/v1/completions", json=body).json()
    assert {row["id"] for row in rows(client, "response")} == {one["reply_id"] for one in told["choices"]}
    assert told["id"] == told["choices"][0]["reply_id"]
    streamed = client.post("/v1/completions", json={"model": "fake", "prompt": "c", "stream": True})
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert len(rows(client, "response")) == 5


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"echo": True}, "echo"),
        ({"suffix": "!"}, "suffix"),
        ({"logit_bias": {"50256": -100}}, "logit_bias"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", " "]}, "prompt[1]"),
        ({"prompt": [1, 2, 3]}, "prompt[0]"),
        ({"prompt": "x" * 16_001}, "prompt"),
        ({"prompt": ["a"] * 257}, "n"),
        ({"prompt": ["a"] * 129, "best_of": 2}, "best_of"),
        ({"prompt": ["a", "b"], "stream": True}, "stream"),
        ({"messages": []}, "messages"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 3, "best_of": 2}, "best_of"),
    ],
)
def test_what_cannot_be_met_is_refused(client: TestClient, more: dict[str, object], param: str) -> None:
    response = client.post("/v1/completions", json={"model": "fake", "prompt": "hello", **more})
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["param"] == param
    assert error["message"].startswith(param)


def test_the_official_client_hears_why(official: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="echo: is not supported by this server"):
        official.completions.create(model="fake", prompt="hello", echo=True)
    with pytest.raises(openai.NotFoundError):
        official.completions.create(model="none", prompt="hello")
