"""`POST /v1/chat/completions` and `/v1/models`: the wire format, what is refused, what is stored."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from chatbot.decoding import Decoding
from tests.app.fakes import FakeBot

HELLO = [{"role": "user", "content": "hello"}]


def ask(client: TestClient, *, messages: object = HELLO, model: object = "fake", **more: object):
    return client.post("/v1/chat/completions", json={"model": model, "messages": messages, **more})


def refused(response, status: int = 400) -> dict[str, object]:
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    return body["error"]


def test_the_answer_has_the_wire_format(client: TestClient) -> None:
    response = ask(client, n=2, seed=7)
    assert response.status_code == 200
    body = response.json()
    assert body["object"] == "chat.completion"
    assert body["model"] == "fake"
    assert body["system_fingerprint"] == "f" * 12
    assert body["seed"] == 7
    assert body["usage"] == {"prompt_tokens": 1, "completion_tokens": 10, "total_tokens": 11}
    assert abs(body["created"] - time.time()) < 60
    assert [choice["message"] for choice in body["choices"]] == [
        {"role": "assistant", "content": "hello, 7/0"},
        {"role": "assistant", "content": "hello, 7/1"},
    ]
    first = body["choices"][0]
    assert (first["index"], first["finish_reason"], first["discriminator_score"]) == (0, "stop", 0.9)
    assert first["reply_id"] == body["id"]
    assert body["choices"][1]["reply_id"] != body["id"]


def test_every_reply_is_stored_with_all_that_made_it(any_client: TestClient, rows: Callable) -> None:
    body = ask(any_client, n=2, seed=7, temperature=1, top_k=5, messages=[
        {"role": "user", "content": "hi"}, {"role": "assistant", "content": "你好 🙂"}, *HELLO]).json()  # fmt: skip
    again = ask(any_client, temperature=1.0, top_k=5).json()
    [system] = rows(any_client, "system")
    assert (system["name"], system["kind"], system["weights_sha256"]) == ("fake", "checkpoint", "f" * 64)
    stored = {row["id"]: row for row in rows(any_client, "response")}
    assert set(stored) == {choice["reply_id"] for choice in body["choices"]} | {again["id"]}
    second = stored[body["choices"][1]["reply_id"]]
    assert (second["text"], second["seed"], second["choice"]) == ("hello, 7/1", 7, 1)
    assert (second["finish_reason"], second["tokens"], second["score"]) == ("stop", 5, 0.89)
    assert (second["context_tokens"], second["turns_used"]) == (4, 3)
    assert second["latency_ms"] >= 0
    assert len(rows(any_client, "context")) == 2
    assert stored[again["id"]]["seed"] == again["seed"] < 2**53


def test_decoding_reaches_the_bot(client: TestClient, bot: FakeBot) -> None:
    ask(client, temperature=0.5, top_p=0.9, top_k=3, repetition_penalty=1.1, no_repeat_ngram=2, min_tokens=2,
        max_completion_tokens=9, best_of=4, n=2, seed=2**63 - 1)  # fmt: skip
    [[request]] = bot.batches
    assert request.decoding == Decoding(
        temperature=0.5, top_p=0.9, top_k=3, repetition_penalty=1.1, no_repeat_ngram=2, min_tokens=2, max_tokens=9
    )
    assert (request.n, request.best_of, request.seed, request.turns) == (2, 4, 2**63 - 1, ("hello",))


def test_what_a_request_does_not_say_is_drawn_as_the_bundle_prefers(start: Callable[..., TestClient]) -> None:
    bot = FakeBot(decoding=Decoding(temperature=0.6, top_p=0.8))
    client = start(bot)
    for more in ({}, {"temperature": 1}, {"temperature": None, "top_p": 1, "max_tokens": 9}):
        ask(client, **more)
    assert [request.decoding for [request] in bot.batches] == [
        Decoding(temperature=0.6, top_p=0.8),
        Decoding(temperature=1, top_p=0.8),
        Decoding(temperature=0.6, top_p=1, max_tokens=9),
    ]
    assert client.get("/v1/models/fake").json()["decoding"] == {"temperature": 0.6, "top_p": 0.8}


def test_a_limit_above_the_models_own_is_met_by_it(client: TestClient, bot: FakeBot) -> None:
    assert ask(client, max_tokens=2**70).status_code == 200
    assert bot.batches[0][0].decoding.max_tokens is None


def test_histories_become_alternating_turns(client: TestClient, bot: FakeBot) -> None:
    body = ask(client, user="me", tools=[], metadata={"a": "b"}, messages=[
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": "Welcome."},
        {"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "user", "content": "three", "name": "ann"},
        {"role": "developer", "content": ""},
    ]).json()  # fmt: skip
    assert bot.batches[0][0].turns == ("Welcome.", "one two\nthree")
    assert body["ignored"] == ["messages[0]", "messages[5]", "metadata", "user"]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": " \n\u3000"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "a\x00b"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "\0"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": "x" * 16_001}]}, "messages[0].content"),
        ({"messages": HELLO * 257}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "x"}]}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "x", "colour": 1}]}, "messages[0].colour"),
        ({"model": 5}, "model"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"n": 1.0}, "n"),
        ({"n": 257}, "n"),
        ({"n": 2**70}, "n"),
        ({"best_of": 300}, "best_of"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"seed": 2**70}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"seed": -1}, "seed"),
        ({"seed": "7"}, "seed"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": 10**400}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"no_repeat_ngram": 2**40}, "no_repeat_ngram"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": 3}}, "stream_options.include_usage"),
        ({"stop": ""}, "stop[0]"),
        ({"stop": ["a", 5]}, "stop[1]"),
        ({"stop": list("abcde")}, "stop"),
        ({"stop": "a\x00"}, "stop[0]"),
        ({"logprobs": 5}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"colour": "red"}, "colour"),
    ],
)  # fmt: skip
def test_what_cannot_be_met_is_refused_by_name(
    client: TestClient, rows: Callable, more: dict[str, object], param: str
) -> None:
    error = refused(ask(client, **more))
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert param in str(error["message"])
    assert rows(client, "response") == []


def test_the_off_value_of_an_unsupported_parameter_passes(client: TestClient) -> None:
    response = ask(client, stream=False, stop=None, logprobs=False, presence_penalty=0, frequency_penalty=0.0,
                   logit_bias={}, response_format={"type": "text"}, modalities=["text"], seed=None, n=None)  # fmt: skip
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", None),
        (b"{", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b'{"model": "fake", "n": 1' + b"0" * 5000 + b"}", "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b"[]", "invalid_body"),
        (b"null", None),
        (b'"text"', "invalid_body"),
        (b'{"\\ud800": 1}', "lone_surrogate"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(client: TestClient, body: bytes, code: str | None) -> None:
    response = client.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    error = refused(response)
    if code is not None:
        assert error["code"] == code


@pytest.mark.parametrize("raw", ['"\\ud800"', '"x\\udfff"', '[{"type": "text", "text": "\\ud83d"}]'])
def test_half_a_surrogate_pair_is_refused(client: TestClient, raw: str) -> None:
    body = f'{{"model": "fake", "messages": [{{"role": "user", "content": {raw}}}]}}'
    response = client.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert str(refused(response)["param"]).startswith("messages[0].content")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(client: TestClient, number: str) -> None:
    body = f'{{"model": "fake", "messages": [{{"role": "user", "content": "x"}}], "temperature": {number}}}'
    response = client.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert refused(response)["param"] == "temperature"


def test_json_sent_as_a_form_is_explained(client: TestClient) -> None:
    response = client.post(
        "/v1/chat/completions", content="{}", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert "Content-Type: application/json" in str(refused(response)["message"])


def test_a_megabyte_is_refused(client: TestClient) -> None:
    assert refused(ask(client, messages=[{"role": "user", "content": "x" * 1_000_000}]))["code"] == "message_too_long"
    assert (
        refused(ask(client, messages=[{"role": "user", "content": "x" * 1_100_000}]), 413)["code"] == "body_too_large"
    )


def test_an_unknown_model_is_named_beside_the_loaded_ones(start: Callable[..., TestClient]) -> None:
    client = start(FakeBot("one"), FakeBot("two"))
    for response in (ask(client, model="three"), client.get("/v1/models/three")):
        error = refused(response, 404)
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        assert "'three'" in str(error["message"])
        assert "one, two" in str(error["message"])


def test_best_of_needs_a_discriminator(start: Callable[..., TestClient]) -> None:
    client = start(FakeBot(has_discriminator=False))
    assert refused(ask(client, best_of=2))["param"] == "best_of"
    assert ask(client).json()["choices"][0]["discriminator_score"] is None


def test_what_the_bot_refuses_is_the_clients_fault_and_what_breaks_is_ours(client: TestClient) -> None:
    error = refused(ask(client, messages=[{"role": "user", "content": "refuse me"}]))
    assert (error["message"], error["param"]) == ("this one is refused", "turns")
    error = refused(ask(client, messages=[{"role": "user", "content": "break down"}]), 500)
    assert error["code"] == "generation_failed"
    assert "fake broke" not in str(error["message"])
    assert ask(client).status_code == 200


def test_a_reply_with_a_nul_can_be_stored(any_client: TestClient, bot: FakeBot, rows: Callable) -> None:
    bot.say = lambda request, choice: "a\x00b"
    assert ask(any_client).json()["choices"][0]["message"]["content"] == "ab"
    assert [row["text"] for row in rows(any_client, "response")] == ["ab"]


def test_the_same_weights_with_another_decoding_are_another_system(client: TestClient, rows: Callable) -> None:
    for more in ({}, {"temperature": 1}, {"best_of": 2}, {}, {"max_tokens": 40}):
        ask(client, **more)
    assert len(rows(client, "system")) == 3


def test_models_are_listed_with_their_cards(client: TestClient) -> None:
    body = client.get("/v1/models").json()
    assert body["object"] == "list"
    [entry] = body["data"]
    assert entry == client.get("/v1/models/fake").json()
    assert (entry["id"], entry["object"], entry["card"], entry["discriminator"]) == ("fake", "model", "# A fake", True)
    assert entry["limits"] == {"context_tokens": 128, "reply_tokens": 40}
    assert entry["decoding"] == {"temperature": 0.7, "top_p": 1.0}


def test_other_addresses_and_methods_answer_in_the_same_shape(client: TestClient) -> None:
    assert refused(client.get("/v1/nothing"), 404)["code"] == "not_found"
    response = client.get("/v1/chat/completions")
    assert refused(response, 405)["code"] == "method_not_allowed"
    assert response.headers["allow"] == "POST"
    assert refused(client.get("/v1/models/a%00b%ff"), 404)["code"] == "model_not_found"


def test_the_document_of_the_interface_promises_no_422(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    statuses = {status for path in document["paths"].values() for call in path.values() for status in call["responses"]}
    assert statuses == {"200", "201", "204", "303", "400", "4XX", "5XX"}


def test_the_same_question_asked_at_once_is_one_context_of_one_system(any_client: TestClient, rows: Callable) -> None:
    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(lambda _: ask(any_client).status_code, range(24)))
    assert statuses == [200] * 24
    assert len(rows(any_client, "response")) == 24
    assert len(rows(any_client, "context")) == 1
    assert len(rows(any_client, "system")) == 1


def test_what_people_say_is_never_logged(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with client.app.state.database.engine.connect() as connection:  # type: ignore[attr-defined]
        connection.exec_driver_sql(
            "create trigger full before insert on response begin select raise(abort, 'database or disk is full'); end"
        )
        connection.commit()
    secret = {"role": "user", "content": "my very own secret"}
    response = TestClient(client.app, raise_server_exceptions=False).post(
        "/v1/chat/completions", json={"model": "fake", "messages": [secret]}
    )
    assert response.status_code >= 500
    assert "disk is full" in caplog.text
    assert "secret" not in caplog.text + response.text
