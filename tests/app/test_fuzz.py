"""Whatever is thrown at a route, it is answered in one of the promised ways and never with a 5xx."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.settings import Settings
from tests.app.fakes import FakeBot, app_of

QUICK = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))

text = st.text(st.characters(codec=None), max_size=20)  # surrogates and U+0000 included
numbers = st.integers() | st.floats() | st.sampled_from([2**31, 2**63, 2**70, -1, 0, 10**400])
scalars = st.none() | st.booleans() | numbers | text
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4))
message = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"]) | anything, "content": text | anything},
    optional={"name": anything, "tool_calls": anything},
)
sampling = dict.fromkeys(
    [
        "n",
        "best_of",
        "seed",
        "temperature",
        "top_p",
        "top_k",
        "repetition_penalty",
        "no_repeat_ngram",
        "min_tokens",
        "max_tokens",
    ],
    numbers | anything,
)
completion = st.fixed_dictionaries(
    {"model": st.just("fake") | anything, "messages": st.lists(message, max_size=3) | anything},
    optional={**sampling, "stream": anything, "stop": anything, "response_format": anything, "tools": anything},
)
replies = st.fixed_dictionaries(
    {"model": st.just("fake"), "contexts": st.lists(st.lists(text, max_size=3), max_size=3) | anything},
    optional=sampling,
)
rating = st.fixed_dictionaries(
    {"reply_id": text | anything, "thumb": st.sampled_from([1, -1]) | anything}, optional={"comment": anything}
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    state: Path = tmp_path_factory.mktemp("fuzz")
    with TestClient(app_of(Settings(state=state), FakeBot())) as client:
        yield client


def post(client: TestClient, path: str, body: object) -> None:
    content = json.dumps(body)  # ASCII, with lone surrogates as escapes and NaN as NaN: what a careless client sends
    response = client.post(path, content=content, headers={"Content-Type": "application/json"})
    if response.status_code not in (200, 201):
        assert response.status_code in (400, 404), response.text
        error = response.json()["error"]
        assert error["message"]
        assert error["type"] == "invalid_request_error"


@QUICK
@given(completion | anything)
def test_completions(client: TestClient, body: object) -> None:
    post(client, "/v1/chat/completions", body)


@QUICK
@given(replies | anything)
def test_replies(client: TestClient, body: object) -> None:
    post(client, "/v1/replies", body)


@QUICK
@given(rating | anything)
def test_ratings(client: TestClient, body: object) -> None:
    post(client, "/v1/ratings", body)


@QUICK
@given(st.sampled_from(["/v1/chat/completions", "/v1/ratings", "/chat", "/rate"]), st.binary(max_size=60))
def test_bytes(client: TestClient, path: str, body: bytes) -> None:
    for kind in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert client.post(path, content=body, headers={"Content-Type": kind}).status_code in (400, 404)


@QUICK
@given(
    st.sampled_from(["/", "/v1/ratings", "/v1/models/x", "/chat", "/rate"]),
    st.dictionaries(
        st.sampled_from(["conversation", "model", "best", "lang", "limit", "after", "reply_id", "message", "thumb"]),
        st.text(max_size=20),
    ),
)
def test_queries_and_forms(client: TestClient, path: str, fields: dict[str, str]) -> None:
    assert client.get(path, params=fields).status_code in (200, 400, 404, 405)
    if path in ("/chat", "/rate"):
        assert client.post(path, data=fields).status_code in (200, 400, 404)
