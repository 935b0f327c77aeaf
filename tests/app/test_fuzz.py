"""Whatever is thrown at a route, it is answered in one of the promised ways and never with a 5xx.

Here is what schemathesis (`test_schema`) does not make: broken text, numbers that no type holds, forms of the pages.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.batches.lines import Line, custom_id_of
from app.settings import Settings
from tests.app.fakes import FakeBot, app_of
from tests.app.people import Owner, RaterClient

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
    {"reply_id": text | anything, "thumb": st.sampled_from([1, -1]) | anything},
    optional={"comment": anything, "dimension": st.just("fluent") | anything, "value": numbers, "reasons": anything},
)
rates = dict.fromkeys(["gold_rate", "repeat_rate", "aa_rate", "k", "lease_seconds", "daily_cap"], numbers | anything)
protocol = st.fixed_dictionaries(
    {"kind": st.sampled_from(["pair", "scale", "turing"]) | anything},
    optional={
        **rates,
        "quality": st.dictionaries(st.sampled_from(["min_gold_accuracy", "min_dwell_ms"]), numbers) | anything,
        "consent": anything,
        "reveal": anything,
        "dimensions": st.lists(st.fixed_dictionaries({"name": text, "anchors": anything}), max_size=2) | anything,
    },
)
study = st.fixed_dictionaries(
    {
        "slug": st.sampled_from(["a", "b-c"]) | text | anything,
        "title": text | anything,
        "protocol": protocol | anything,
    },
    optional={"seed": numbers},
)
system = st.fixed_dictionaries(
    {"kind": st.sampled_from(["model", "human", "replies"]) | anything},
    optional={
        "model": st.just("fake") | anything,
        "name": st.just("x") | anything,
        "temperature": numbers,
        "n": numbers,
    },
)
context = st.fixed_dictionaries(
    {"turns": st.lists(text, max_size=3) | anything},
    optional={"reply": text | anything, "replies": st.dictionaries(st.just("x"), text) | anything, "source": anything},
)
items = st.fixed_dictionaries(
    {"systems": st.lists(system, max_size=3) | anything, "contexts": st.lists(context, max_size=3) | anything},
    optional={"count": numbers, "automatic_gold": numbers | st.just(1), "gold": anything},
)
verdict = st.fixed_dictionaries(
    {"lease": st.just("LEASE") | text | anything},
    optional={
        "choice": st.sampled_from(["left", "tie"]) | anything,
        "scores": st.dictionaries(text, numbers) | anything,
        "dwell_ms": numbers,
        "comment": text | anything,
        "reason": st.just("other") | anything,
        "flag": st.just("other") | anything,
    },
)
batch = st.fixed_dictionaries(
    {
        "input_file_id": st.just("file-0") | text | anything,
        "endpoint": st.just("/v1/chat/completions") | text | anything,
        "completion_window": st.sampled_from(["24h", "0h", "9999999d"]) | text | anything,
    },
    optional={"metadata": st.dictionaries(text, text) | anything, "seed": numbers},
)
line = st.fixed_dictionaries(
    {
        "custom_id": text | anything,
        "method": st.just("POST") | anything,
        "url": st.just("/v1/chat/completions") | anything,
        "body": completion | anything,
    }
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    state: Path = tmp_path_factory.mktemp("fuzz")
    with TestClient(app_of(Settings(state=state), FakeBot())) as client:
        yield client


def post(client: TestClient, path: str, body: object, token: str = "") -> None:
    content = json.dumps(body)  # ASCII, with lone surrogates as escapes and NaN as NaN: what a careless client sends
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    response = client.post(path, content=content, headers=headers)
    if response.status_code not in (200, 201):
        assert response.status_code in (400, 404, 409), response.text
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
@given(batch | anything)
def test_batches(client: TestClient, body: object) -> None:
    post(client, "/v1/batches", body)


@QUICK
@given(st.dictionaries(st.sampled_from(["purpose", "expires_after[anchor]"]) | text, text), text, st.binary(), text)
def test_uploads(client: TestClient, fields: dict[str, str], filename: str, content: bytes, boundary: str) -> None:
    def encoded(value: str) -> bytes:
        return value.encode("utf-8", "replace")

    parts = [b'form-data; name="%s"\r\n\r\n%s' % (encoded(name), encoded(value)) for name, value in fields.items()]
    parts.append(b'form-data; name="file"; filename="%s"\r\n\r\n%s' % (encoded(filename), content))
    frame = encoded(boundary.replace("\r", "").replace("\n", "").replace("\x00", ""))
    body = b"".join(b"--%s\r\nContent-Disposition: %s\r\n" % (frame, part) for part in parts) + b"--%s--\r\n" % frame
    headers = {b"Content-Type": b'multipart/form-data; boundary="%s"' % frame}
    assert client.post("/v1/files", content=body, headers=headers).status_code in (200, 400)


def test_a_batch_of_anything_ends_with_every_line_answered(tmp_path: Path) -> None:
    lines: list[bytes] = []

    @settings(max_examples=300, deadline=None)
    @given((line | anything).map(lambda one: json.dumps(one).encode()) | st.binary(max_size=60))
    def collect(one: bytes) -> None:
        lines.extend(one.split(b"\n"))

    collect()  # all before the batch is begun: its threads draw random numbers, which hypothesis takes for a mistake
    known: set[str | None] = set()
    unlike = []
    for one in lines:
        custom_id = custom_id_of(Line(2, one))
        if custom_id is None or custom_id not in known:
            known.add(custom_id)
            unlike.append(one)
    content = b"\n".join(unlike)
    with TestClient(app_of(Settings(state=tmp_path), FakeBot())) as client:
        file = client.post("/v1/files", data={"purpose": "batch"}, files={"file": ("x", content)}).json()["id"]
        body = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        begun = client.post("/v1/batches", json=body).json()["id"]
        end = time.monotonic() + 30
        while (done := client.get(f"/v1/batches/{begun}").json())["status"] != "completed":
            assert time.monotonic() < end, done
            assert done["status"] != "failed", done
            time.sleep(0.02)
        numbers = []
        for kind in ("output_file_id", "error_file_id"):
            if done[kind] is not None:
                answers = client.get(f"/v1/files/{done[kind]}/content").content.splitlines()
                numbers += [(json.loads(answer)["error"] or {}).get("line") for answer in answers]
        assert len(numbers) == sum(1 for one in content.split(b"\n") if one.strip()) > 100
        assert len([number for number in numbers if number]) == len({number for number in numbers if number}) > 50


@QUICK
@given(rating | anything)
def test_ratings(client: TestClient, body: object) -> None:
    post(client, "/v1/ratings", body)


@QUICK
@given(study | anything)
def test_studies(client: TestClient, body: object) -> None:
    post(client, "/v1/studies", body)


@QUICK
@given(st.sampled_from(["pair", "scale", "turing"]), items | anything)
def test_items(client: TestClient, kind: str, body: object) -> None:
    Owner(client, f"fuzz-{kind}").create(kind)
    post(client, f"/v1/studies/fuzz-{kind}/items", body)


@pytest.fixture(scope="module", params=["pair", "scale"])
def rater(client: TestClient, request: pytest.FixtureRequest) -> RaterClient:
    return Owner(client, f"run-{request.param}").running(request.param, n=200, k=1).rater()


@QUICK
@given(st.sampled_from(["judgements", "skip", "flag", "consent"]), verdict | anything)
def test_verdicts(client: TestClient, rater: RaterClient, path: str, body: object) -> None:
    if isinstance(body, dict) and body.get("lease") == "LEASE":
        body = {**body, "lease": rater.task()["lease"]}
    post(client, f"/v1/studies/{rater.slug}/{path}", body, rater.token)


@QUICK
@given(st.dictionaries(st.sampled_from(["token", "external_ref", "simulated", "label", "max_raters"]), anything))
def test_joining(client: TestClient, body: object) -> None:
    post(client, "/v1/raters/join", body)
    Owner(client, "joined").create()
    post(client, "/v1/studies/joined/invitations", body)


@QUICK
@given(st.text(max_size=60))
def test_session_tokens(client: TestClient, rater: RaterClient, token: str) -> None:
    path = f"/v1/studies/{rater.slug}/next"
    raw = token.encode("utf-8", "replace").replace(b"\n", b"").replace(b"\r", b"").replace(b"\x00", b"")
    assert client.get(path, headers={b"Authorization": b"Bearer " + raw}).status_code in (401, 200)
    cookie = b"rejoinder-rater-" + rater.slug.encode() + b"=" + raw
    assert client.get(path, headers={b"Cookie": cookie}).status_code == 401


@QUICK
@given(
    st.sampled_from(["/v1/chat/completions", "/v1/ratings", "/v1/studies", "/v1/raters/join", "/chat", "/rate"])
    | st.sampled_from(["/v1/files", "/v1/batches"]),
    st.binary(max_size=60),
)
def test_bytes(client: TestClient, path: str, body: bytes) -> None:
    for kind in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert client.post(path, content=body, headers={"Content-Type": kind}).status_code in (400, 404)


FORMS = ["/chat", "/chat/again", "/chat/scale", "/chat/privacy", "/chat/delete", "/rate", "/arena/round", "/arena/vote"]
FORMS += ["/arena/skip", "/studies", "/studies/x/start", "/studies/x/invite", "/rate/x/judge", "/rate/x/skip"]
FIELDS = [
    "conversation",
    "model",
    "best",
    "lang",
    "theme",
    "limit",
    "after",
    "reply_id",
    "message",
    "thumb",
    "fresh",
    "order",
    "purpose",
]
FIELDS += ["edit", "lease", "choice", "score-a", "dwell_ms", "title", "systems", "contexts", "k", "study", "notice"]


@QUICK
@given(
    st.sampled_from(
        [
            "/",
            "/v1/ratings",
            "/v1/models/x",
            "/arena",
            "/board",
            "/models/fake",
            "/v1/files",
            "/v1/batches",
            "/v1/files/x",
            "/rate/x",
            *FORMS,
        ]
    ),
    st.dictionaries(st.sampled_from(FIELDS), st.text(max_size=20)),
)
def test_queries_and_forms(client: TestClient, path: str, fields: dict[str, str]) -> None:
    assert client.get(path, params=fields).status_code in (200, 400, 404, 405)
    if path in FORMS:
        assert client.post(path, data=fields).status_code in (200, 400, 404)
