"""The numbers of `/metrics` are those of what happened."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from app.batches.tables import Batch
from app.database import Database, now
from app.engines import ThreadEngine
from app.generation import Generation
from app.migration import migrate_database
from app.models import Models
from app.monitoring import repository
from app.monitoring.metrics import GenerationMetrics
from app.monitoring.service import Monitoring
from chatbot.errors import RejoinderError
from tests.app.fakes import FakeBot
from tests.app.owners import PUBLIC, key_headers
from tests.app.people import Owner

BODY = {"model": "fake", "messages": [{"role": "user", "content": "hello"}]}


def numbers(client: TestClient) -> Callable[..., float | None]:
    """Scrape, and return what gives the value of a sample by its name and labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }

    def number(name: str, **labels: str) -> float | None:
        labels = {name.removesuffix("_"): value for name, value in labels.items()}
        return found.get((f"rejoinder_{name}", frozenset(labels.items())))

    return number


def test_requests_are_counted_by_route_and_never_by_path(client: TestClient) -> None:
    for name in ("one", "two", "three"):
        client.get(f"/v1/models/{name}")
        client.get(f"/{name}")
    client.request("BREW", "/v1/models")
    client.get("/v1/models")
    number = numbers(client)
    assert number("http_requests_total", method="GET", route="/v1/models/{model}", status="404") == 3
    assert number("http_requests_total", method="GET", route="none", status="404") == 3
    assert number("http_requests_total", method="OTHER", route="/v1/models", status="405") == 1
    assert number("http_requests_total", method="GET", route="/v1/models", status="200") == 1
    assert number("http_request_seconds_count", route="/v1/models/{model}") == 3
    assert number("http_requests_in_flight") == 1  # the scrape itself
    text = client.get("/metrics").text
    assert "three" not in text


def test_what_is_refused_before_the_router_counts_for_the_route_it_asked_for(start: Callable[..., TestClient]) -> None:
    client = start(FakeBot(), **PUBLIC, max_body_bytes=1000)
    for name in ("one", "two"):
        assert client.get(f"/v1/models/{name}").status_code == 401
        assert client.get(f"/{name}").status_code == 401
    headers = key_headers(client, "chat", "metrics")
    assert client.post("/v1/replies", content=b"x" * 1001, headers=headers).status_code == 413
    assert client.delete("/v1/files/file-1", headers=key_headers(client, "rate")).status_code == 403
    client.headers.update(headers)
    number = numbers(client)
    assert number("http_requests_total", method="GET", route="/v1/models/{model}", status="401") == 2
    assert number("http_requests_total", method="GET", route="none", status="401") == 2
    assert number("http_requests_total", method="POST", route="/v1/replies", status="413") == 1
    assert number("http_requests_total", method="DELETE", route="/v1/files/{file_id}", status="403") == 1


def test_the_routes_are_as_many_as_the_service_has(client: TestClient) -> None:
    """A thousand made-up addresses make one more series, not a thousand."""
    before = len(client.get("/metrics").text.splitlines())
    for i in range(300):
        client.get(f"/v1/files/file-{i}")
        client.get(f"/{i}/{i}?q={i}")
    after = len(client.get("/metrics").text.splitlines())
    assert after - before < 60


def test_replies_are_counted_by_model_and_outcome(start: Callable[..., TestClient]) -> None:
    client = start(FakeBot(), FakeBot("other"))
    client.post("/v1/chat/completions", json={**BODY, "n": 2})
    client.post("/v1/chat/completions", json={**BODY, "model": "other", "stream": True})
    client.post("/v1/replies", json={"model": "fake", "contexts": [["a b c"], ["d"]]})
    for text in ("break down", "refuse me"):
        client.post("/v1/chat/completions", json={**BODY, "messages": [{"role": "user", "content": text}]})
    number = numbers(client)
    assert number("generated_tokens_total", model="fake") == 20
    assert number("generated_tokens_total", model="other") == 5
    assert number("context_tokens_total", model="fake") == 1 + 3 + 1
    answered = {"outcome": "answered"}
    assert number("generations_total", model="fake", class_="interactive", **answered) == 1
    assert number("generations_total", model="fake", class_="batch", **answered) == 2
    assert number("generations_total", model="other", class_="interactive", **answered) == 1
    assert number("generations_total", model="fake", class_="interactive", outcome="generation_failed") == 1
    assert number("generations_total", model="fake", class_="interactive", outcome="refused") == 1
    assert number("first_token_seconds_count", model="other") == 1
    assert number("first_token_seconds_count", model="fake") is None  # nothing of it was streamed
    assert number("generation_seconds_count", model="fake", class_="batch") == 2
    assert number("queue_seconds_count", model="fake", class_="interactive") == 3
    assert number("models_loaded") == 2


def test_queue_and_lanes_while_replies_are_drawn(start: Callable[..., TestClient]) -> None:
    bot = FakeBot(gate=threading.Event())
    client = start(bot, batch_size=4, queue_capacity=3)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(client.post, "/v1/chat/completions", json={**BODY, "n": 5})
        assert bot.began.wait(10)
        second = pool.submit(client.post, "/v1/chat/completions", json={**BODY, "n": 3})
        end = time.monotonic() + 10
        while numbers(client)("queue_replies", model="fake", class_="interactive") != 3:
            assert time.monotonic() < end
        assert client.post("/v1/chat/completions", json=BODY).status_code == 429
        number = numbers(client)
        assert number("queue_replies", model="fake", class_="batch") == 0
        assert number("queue_capacity_replies") == 3
        assert number("lanes_in_use", model="fake") == 5
        assert number("lanes") == 5
        assert number("generations_total", model="fake", class_="interactive", outcome="queue_full") == 1
        assert number("http_requests_in_flight") == 3
        bot.gate.set()
        assert {first.result(10).status_code, second.result(10).status_code} == {200}
    number = numbers(client)
    assert number("queue_replies", model="fake", class_="interactive") == 0
    assert number("lanes_in_use", model="fake") == 0
    assert number("http_requests_in_flight") == 1


class Mortal(ThreadEngine):
    """An engine that can be killed."""

    def start(self, deliver: Any, lost: Callable[[], None]) -> None:
        super().start(deliver, lost)
        self.die = lost


def test_a_dead_engine_is_down_and_then_counted_as_restarted() -> None:
    async def live() -> None:
        metrics = GenerationMetrics(CollectorRegistry())
        engine = Mortal([FakeBot()])
        generation = Generation([engine], Models(), capacity=8, lanes=2, metrics=metrics)
        await generation.start()
        assert generation.engine_counts() == (1, 1)
        engine.die()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for _ in range(100):
            if metrics.registry.get_sample_value("rejoinder_engine_restarts_total") == 1:
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail("it was not started again")
        await generation.stop()

    asyncio.run(live())


def test_ratings_are_counted_once_and_only_when_they_are_kept(any_client: TestClient) -> None:
    reply = any_client.post("/v1/chat/completions", json=BODY).json()["id"]
    for _ in range(2):  # the second time it is the same request
        rated = any_client.post(
            "/v1/ratings", json={"reply_id": reply, "thumb": 1}, headers={"Idempotency-Key": "once"}
        )
        assert rated.status_code in (200, 201)
    any_client.post("/v1/ratings", json={"reply_id": reply, "thumb": -1})
    any_client.post("/v1/ratings", json={"reply_id": "reply-none", "thumb": 1})
    number = numbers(any_client)
    assert number("ratings_total", kind="thumb", value="1") == 1
    assert number("ratings_total", kind="thumb", value="-1") == 1
    assert number("judgements_total", kind="thumb") is None


def open_batch(name: str, status: str, total: int = 0, completed: int = 0, failed: int = 0) -> Batch:
    return Batch(
        id=name,
        endpoint="",
        input_file_id="",
        completion_window="",
        seed=0,
        status=status,
        total=total,
        completed=completed,
        failed=failed,
        created_at=now(),
        expires_at=now(),
        ended_at=now() if status == "completed" else None,
    )


def test_a_rating_whose_commit_fails_is_not_counted(database: Database) -> None:
    heard: list[Batch] = []
    database.tell_of_new(Batch, heard.append)

    def batch(name: str) -> Batch:
        return open_batch(name, "validating")

    def change_ones_mind() -> None:
        with database.writing() as session:
            session.add(batch("a"))
            session.flush()
            raise RejoinderError("changed my mind")

    with pytest.raises(RejoinderError):
        change_ones_mind()
    with database.writing() as session:
        session.add(batch("b"))
    with pytest.raises(sa.exc.IntegrityError), database.writing() as session:
        session.add(batch("b"))
    assert [one.id for one in heard] == ["b"]


def test_judgements_and_leases(any_client: TestClient) -> None:
    rater = Owner(any_client).running().rater()
    assert numbers(any_client)("leases") == 0
    task = rater.task()
    monitoring: Monitoring = any_client.app.state.monitoring  # type: ignore[attr-defined]
    assert numbers(any_client)("leases") == 0  # what the database said is told for a few seconds
    monitoring._asked -= 60
    assert numbers(any_client)("leases") == 1
    assert rater.judge(task).status_code == 201
    monitoring._asked -= 60
    number = numbers(any_client)
    assert number("leases") == 0
    assert number("judgements_total", kind="pair") == 1


def test_batches_that_are_open(database: Database) -> None:
    with database.writing() as session:
        session.add_all(
            [
                open_batch("a", "in_progress", 10, 4, 1),
                open_batch("b", "in_progress", 5, 5, 0),
                open_batch("c", "finalizing", 3, 2, 1),
                open_batch("d", "completed", 1000, 1000, 0),
            ]
        )
    with database.reading() as session:
        found = {tuple(one) for one in repository.open_batches(session)}
    assert found == {("in_progress", 2, 15, 9, 1), ("finalizing", 1, 3, 2, 1)}


def test_a_scrape_reads_indexes_and_no_table(tmp_path: Path) -> None:
    """So its cost does not grow with what was judged and answered."""
    url = f"sqlite:///{tmp_path / 'x.db'}"
    migrate_database(url)
    database = Database(url)
    asked: list[tuple[str, Any]] = []
    sa.event.listen(database.engine, "before_cursor_execute", lambda *a: asked.append((a[2], a[3])))
    with database.reading() as session:
        repository.open_batches(session)
        repository.open_leases(session)
    selects = [one for one in asked if one[0].startswith("SELECT")]
    assert len(selects) == 2
    with database.engine.connect() as connection:
        for statement, parameters in selects:
            plan = " ".join(
                str(row[3]) for row in connection.exec_driver_sql(f"explain query plan {statement}", parameters)
            )
            assert "USING INDEX" in plan or "USING COVERING INDEX" in plan, plan
            assert "SCAN batch" not in plan
            assert "SCAN assignment USING INDEX uq_assignment_open_lease" in plan or "SEARCH batch" in plan, plan
    database.close()


def test_a_database_that_is_away_costs_nothing_but_its_own_numbers(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sa.exc.OperationalError("SELECT 1", None, Exception("gone"))

    monkeypatch.setattr(client.app.state.database, "reading", fail)  # type: ignore[attr-defined]
    number = numbers(client)
    assert number("database_up") == 0
    assert number("models_loaded") == 1


def test_a_database_that_hangs_does_not_hang_the_scrape(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    monkeypatch.setattr("app.monitoring.service._PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("app.monitoring.service.repository.open_leases", lambda _: gate.wait(20) and 7)
    assert numbers(client)("database_up") == 0
    gate.set()
    end = time.monotonic() + 10
    while numbers(client)("leases") != 7:
        assert time.monotonic() < end
    assert numbers(client)("database_up") == 1


def test_each_app_counts_for_itself_and_nothing_is_global(start: Callable[..., TestClient], tmp_path: Path) -> None:
    first, second = start(FakeBot(), state=tmp_path / "a"), start(FakeBot(), state=tmp_path / "b")
    first.post("/v1/chat/completions", json=BODY)
    assert numbers(first)("generated_tokens_total", model="fake") == 5
    assert numbers(second)("generated_tokens_total", model="fake") is None
    assert not any(family.name.startswith("rejoinder") for family in REGISTRY.collect())


def test_what_runs(client: TestClient) -> None:
    text = client.get("/metrics").text
    assert 'rejoinder_build_info{python="3.' in text
    assert "process_resident_memory_bytes" in text
    number = numbers(client)
    assert number("database_up") == 1
    assert number("database_connections", state="in_use") == 0
    assert number("database_connections_max") == 30
    assert number("engines", state="running") == 1
    assert number("engines", state="down") == 0
