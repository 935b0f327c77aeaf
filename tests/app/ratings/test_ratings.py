"""`/v1/ratings`: a thumb is kept, counts once, and nothing is overwritten."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from app.database import now
from app.settings import Settings
from tests.app.fakes import FakeBot, app_of


def reply(client: TestClient, model: str = "fake") -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    return str(client.post("/v1/chat/completions", json=body).json()["id"])


def rate(client: TestClient, reply_id: object, thumb: object = 1, key: str | None = None, **more: object):
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post("/v1/ratings", json={"reply_id": reply_id, "thumb": thumb, **more}, headers=headers)


def test_a_rating_is_stored_and_listed(any_client: TestClient) -> None:
    reply_id = reply(any_client)
    response = rate(any_client, reply_id, -1, comment="太短了 🙂")
    assert response.status_code == 201
    entry = response.json()
    assert entry["reply_id"] == reply_id
    assert (entry["thumb"], entry["comment"], entry["model"]) == (-1, "太短了 🙂", "fake")
    assert (entry["supersedes"], entry["superseded_by"]) == (None, None)
    assert any_client.get("/v1/ratings").json() == {
        "object": "list",
        "data": [entry],
        "last_id": entry["id"],
        "has_more": False,
    }


def test_a_thumb_has_reasons_and_a_scale_its_dimension(any_client: TestClient, rows: Callable) -> None:
    reply_id = reply(any_client)
    thumb = rate(any_client, reply_id, -1, reasons=["dull", "irrelevant"]).json()
    assert (thumb["reasons"], thumb["dimension"], thumb["value"]) == (["dull", "irrelevant"], None, None)

    def scale(dimension: str, value: int, **more: object) -> dict[str, object]:
        body = {"reply_id": reply_id, "dimension": dimension, "value": value, **more}
        response = any_client.post("/v1/ratings", json=body)
        assert response.status_code == 201, response.text
        return dict(response.json())

    fluent, sensible = scale("fluent", 5), scale("sensible", 2, comment="hm")
    assert (fluent["thumb"], fluent["dimension"], fluent["value"], fluent["reasons"]) == (None, "fluent", 5, [])
    assert fluent["supersedes"] is sensible["supersedes"] is None  # each dimension is a chain of its own
    again = scale("fluent", 4)
    assert again["supersedes"] == fluent["id"]
    listed = any_client.get("/v1/ratings").json()["data"]
    assert [(one["thumb"], one["value"], one["superseded_by"]) for one in listed] == [
        (-1, None, None),
        (None, 5, again["id"]),
        (None, 2, None),
        (None, 4, None),
    ]
    assert [row["kind"] for row in rows(any_client, "judgement")] == ["thumb", "scale", "scale", "scale"]
    later = rate(any_client, reply_id, 1).json()
    assert later["supersedes"] == thumb["id"]


def test_a_later_rating_supersedes_and_the_earlier_stays(any_client: TestClient, rows: Callable) -> None:
    reply_id = reply(any_client)
    first, second, third = (rate(any_client, reply_id, thumb).json() for thumb in (1, -1, 1))
    assert (second["supersedes"], third["supersedes"]) == (first["id"], second["id"])
    listed = any_client.get("/v1/ratings").json()["data"]
    assert [(one["thumb"], one["superseded_by"]) for one in listed] == [
        (1, second["id"]),
        (-1, third["id"]),
        (1, None),
    ]
    assert len(rows(any_client, "judgement")) == 3


def test_ratings_at_the_same_moment_leave_one_that_counts(any_client: TestClient) -> None:
    reply_id = reply(any_client)
    statuses: list[int] = []
    workers = [
        threading.Thread(target=lambda: statuses.append(rate(any_client, reply_id).status_code)) for _ in range(12)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert statuses == [201] * 12
    listed = any_client.get("/v1/ratings").json()["data"]
    assert len(listed) == 12
    assert [one["superseded_by"] for one in listed].count(None) == 1
    assert [one["supersedes"] for one in listed].count(None) == 1


def test_a_repeated_request_counts_once(any_client: TestClient, rows: Callable) -> None:
    reply_id = reply(any_client)
    first = rate(any_client, reply_id, key="k1")
    answers: list[object] = []
    workers = [
        threading.Thread(target=lambda: answers.append(rate(any_client, reply_id, key="k2").json())) for _ in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    again = rate(any_client, reply_id, key="k1")
    assert (again.status_code, again.json()) == (201, first.json())
    assert len({str(answer) for answer in answers}) == 1
    assert len(rows(any_client, "judgement")) == 2
    clash = rate(any_client, reply_id, -1, key="k1")
    assert clash.status_code == 409
    assert clash.json()["error"]["code"] == "idempotency_key_reused"


def test_a_failed_request_does_not_use_up_its_key(any_client: TestClient) -> None:
    assert rate(any_client, "reply-none", key="k").status_code == 404
    reply_id = reply(any_client)
    assert rate(any_client, reply_id, key="k").status_code == 201


def test_old_keys_are_forgotten(client: TestClient, rows: Callable) -> None:
    reply_id = reply(client)
    rate(client, reply_id, key="old")
    with client.app.state.database.writing() as session:  # type: ignore[attr-defined]
        session.execute(
            sa.text("update idempotency_record set created_at = :then"),
            {"then": (now() - timedelta(days=2)).replace(tzinfo=None).isoformat(" ")},
        )
    rate(client, reply_id, key="new")
    assert [row["key"] for row in rows(client, "idempotency_record")] == ["new"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "reply_id"),
        ({"reply_id": "x"}, "thumb"),
        ({"reply_id": "x", "thumb": 0}, "thumb"),
        ({"reply_id": "x", "thumb": 2}, "thumb"),
        ({"reply_id": "x", "thumb": True}, "thumb"),
        ({"reply_id": "x", "thumb": 1.0}, "thumb"),
        ({"reply_id": "x", "thumb": "1"}, "thumb"),
        ({"reply_id": "x", "thumb": None}, "thumb"),
        ({"reply_id": "", "thumb": 1}, "reply_id"),
        ({"reply_id": "x" * 49, "thumb": 1}, "reply_id"),
        ({"reply_id": "\x00", "thumb": 1}, "reply_id"),
        ({"reply_id": 5, "thumb": 1}, "reply_id"),
        ({"reply_id": "x", "thumb": 1, "comment": "x" * 4001}, "comment"),
        ({"reply_id": "x", "thumb": 1, "comment": "\x00"}, "comment"),
        ({"reply_id": "x", "thumb": 1, "stars": 5}, "stars"),
        ({"reply_id": "x", "thumb": 1, "dimension": "fluent", "value": 3}, "dimension"),
        ({"reply_id": "x", "dimension": "fluent"}, "value"),
        ({"reply_id": "x", "thumb": 1, "value": 3}, "value"),
        ({"reply_id": "x", "dimension": "pretty", "value": 3}, "dimension"),
        ({"reply_id": "x", "dimension": "fluent", "value": 0}, "value"),
        ({"reply_id": "x", "dimension": "fluent", "value": 6}, "value"),
        ({"reply_id": "x", "dimension": "fluent", "value": True}, "value"),
        ({"reply_id": "x", "dimension": "fluent", "value": 3, "reasons": ["dull"]}, "reasons"),
        ({"reply_id": "x", "thumb": 1, "reasons": ["because"]}, "reasons[0]"),
        ({"reply_id": "x", "thumb": 1, "reasons": "dull"}, "reasons"),
        ({"reply_id": "x", "thumb": 1, "reasons": ["dull"] * 17}, "reasons"),
    ],
)
def test_bad_ratings_are_refused_by_name(client: TestClient, body: dict[str, object], param: str) -> None:
    response = client.post("/v1/ratings", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


def test_an_unknown_reply_is_not_found(any_client: TestClient, rows: Callable) -> None:
    response = rate(any_client, "reply-none")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "reply_not_found"
    assert rows(any_client, "judgement") == []


def test_the_list_is_filtered_and_paged(start: Callable[..., TestClient], database_url: str) -> None:
    client = start(FakeBot("one"), FakeBot("two"), database_url=database_url)
    replies = [reply(client, "one"), reply(client, "two"), reply(client, "two")]
    ids = [rate(client, reply_id).json()["id"] for reply_id in replies]

    def listed(**query: object) -> list[int]:
        return [one["id"] for one in client.get("/v1/ratings", params=query).json()["data"]]

    assert listed(model="two") == ids[1:]
    assert listed(reply_id=replies[2]) == [ids[2]]
    assert listed(model="three") == []
    page = client.get("/v1/ratings", params={"limit": 2}).json()
    assert ([one["id"] for one in page["data"]], page["has_more"]) == (ids[:2], True)
    rest = client.get("/v1/ratings", params={"limit": 2, "after": page["last_id"]}).json()
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (ids[2:], False)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after=-1", f"after={2**63}", "model=%00"])
def test_bad_queries_are_refused_by_name(client: TestClient, query: str) -> None:
    response = client.get(f"/v1/ratings?{query}")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == query.split("=")[0]


def test_a_rating_is_there_after_a_restart(database_url: str, tmp_path: Path) -> None:
    settings = Settings(state=tmp_path, database_url=database_url)
    with TestClient(app_of(settings, FakeBot())) as before:
        entry = rate(before, reply(before)).json()
    with TestClient(app_of(settings, FakeBot())) as after:
        assert after.get("/v1/ratings").json()["data"] == [entry]


def test_a_locked_database_is_a_clear_error_and_no_half_row(
    client: TestClient, rows: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply_id = reply(client)
    engine = client.app.state.database.engine  # type: ignore[attr-defined]

    @sa.event.listens_for(engine, "connect")
    @sa.event.listens_for(engine, "checkout")
    def impatient(connection, *_: object) -> None:
        connection.execute("PRAGMA busy_timeout = 50")

    with engine.execution_options(writes=True).begin():
        response = rate(client, reply_id, key="k")
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "database_unavailable"
    assert rows(client, "judgement") == []
    assert rate(client, reply_id, key="k").status_code == 201
