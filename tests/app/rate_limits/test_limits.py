"""Limits: counted for keys and addresses, shared by replicas, told as OpenAI's clients know it, no address stored."""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from limits import parse
from limits.strategies import FixedWindowRateLimiter

from app.commands import read_settings
from app.database import Database, now
from app.errors import RateLimitedError
from app.rate_limits import counters, repository
from app.rate_limits.counters import SharedCounters
from app.rate_limits.limiter import Limiter, Limits, limits_of
from app.rate_limits.repository import Hits
from app.rate_limits.tables import DailySecret, RateCounter
from app.settings import Settings
from chatbot.errors import RejoinderError
from tests.app.conftest import Serving
from tests.app.fakes import FakeBot, app_of
from tests.app.owners import PUBLIC, bearer, key_headers, new_key
from tests.app.people import Owner

BODY = {"model": "fake", "messages": [{"role": "user", "content": "hi"}]}


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self, at: float = 1_000_000_020.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def exchange(database: Database, replica: SharedCounters) -> None:
    taken = replica.take()
    with database.writing() as session:
        totals = repository.add(session, taken)
    replica.learn(totals)


def test_a_window_ends_at_a_whole_multiple_of_its_length() -> None:
    """1,000,000,020 is 16,666,667 minutes: a window begins there and ends 60 seconds later."""
    clock = Clock()
    rule, limit = FixedWindowRateLimiter(storage := SharedCounters(clock)), parse("3/minute")
    assert [rule.hit(limit, "a") for _ in range(5)] == [True, True, True, False, False]
    assert rule.hit(limit, "b")
    assert rule.get_window_stats(limit, "a") == (1_000_000_080, 0)
    assert rule.get_window_stats(limit, "b").remaining == 2
    clock.at += 59.9
    assert not rule.hit(limit, "a")
    clock.at += 0.2
    assert rule.get_window_stats(limit, "a").remaining == 3
    assert rule.hit(limit, "a")
    assert [one.hits for one in storage.take()] == [1]


def test_replicas_share_what_they_counted(database: Database) -> None:
    clock = Clock()
    one, two = SharedCounters(clock), SharedCounters(clock)
    for _ in range(6):
        one.incr("key", 60)
    for _ in range(3):
        two.incr("key", 60)
    assert (one.get("key"), two.get("key")) == (6, 3)
    exchange(database, one)
    exchange(database, two)
    assert (one.get("key"), two.get("key")) == (6, 9)
    one.incr("key", 60)
    exchange(database, one)
    assert one.get("key") == 10
    with database.reading() as session:
        assert session.execute(sa.select(RateCounter.bucket, RateCounter.hits)).all() == [("key", 10)]


def test_what_is_counted_meanwhile_and_what_could_not_be_stored_is_kept(database: Database) -> None:
    replica = SharedCounters(Clock())
    replica.incr("key", 60, 5)
    taken = replica.take()
    replica.incr("key", 60, 2)
    assert replica.get("key") == 7
    replica.put_back(taken)
    assert replica.get("key") == 7
    exchange(database, replica)
    assert replica.get("key") == 7
    assert replica.take() == []
    replica.incr("key", 60)
    assert [hits.hits for hits in replica.take()] == [1]


def test_one_statement_takes_many(database: Database) -> None:
    hits = [Hits(f"bucket {number}", 0, number, 60) for number in range(499, -1, -1)]
    statements: list[str] = []
    sa.event.listen(database.engine, "before_cursor_execute", lambda *event: statements.append(event[2]))
    with database.writing() as session:
        assert sorted(repository.add(session, hits)) == sorted(hits)
    assert len([statement for statement in statements if "rate_counter" in statement]) == 1
    with database.writing() as session:
        assert sorted(repository.add(session, hits)) == sorted(one._replace(hits=2 * one.hits) for one in hits)


def test_a_flood_of_addresses_shares_one_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "MOST", 3)
    replica = SharedCounters(Clock())
    assert [replica.incr(name, 60) for name in "abcdea"] == [1, 1, 1, 1, 2, 2]
    assert len(replica.take()) == 4


def test_windows_that_are_over_are_deleted(database: Database) -> None:
    soon = int(time.time())
    with database.writing() as session:
        repository.add(session, [Hits("old", soon - 120, 1, soon - 60), Hits("new", soon, 1, soon + 60)])
        repository.forget(session, datetime.fromtimestamp(soon, UTC))
        assert session.scalars(sa.select(RateCounter.bucket)).all() == ["new"]


def test_the_secret_of_a_day_is_one_for_all_and_gone_the_next(database: Database) -> None:
    today = date(2026, 3, 4)
    with database.writing() as session:
        first = repository.secret_of(session, today)
    with database.writing() as session:
        assert repository.secret_of(session, today) == first
        assert len(first) == 32
        assert repository.secret_of(session, today + timedelta(days=1)) != first
        assert session.scalars(sa.select(DailySecret.day)).all() == [today + timedelta(days=1)]


def names(limiter: Limiter, storage: SharedCounters, *addresses: str | None) -> list[str]:
    for address in addresses:
        limiter.count_address(address)
    return [hits.bucket for hits in storage.take()]


def test_addresses_go_by_another_name_each_day_and_ipv6_by_its_first_half() -> None:
    storage = SharedCounters(Clock())
    limiter = Limiter(Limits(anonymous=parse("9/minute")), storage, Clock())
    limiter.set_secret(b"one day")
    [name] = names(limiter, storage, "203.0.113.7", "::ffff:203.0.113.7", "203.0.113.7")
    assert "203" not in name
    limiter.set_secret(b"the next")
    assert names(limiter, storage, "203.0.113.7") != [name]
    assert len(names(limiter, storage, "2001:db8::1", "2001:db8::ffff", "2001:db8:0:0:9::")) == 1
    assert len(names(limiter, storage, "2001:db8:0:1::1", "no address", None)) == 3


def test_the_limit_says_when_to_come_again() -> None:
    clock = Clock()
    limiter = Limiter(Limits(keys=parse("2/minute")), SharedCounters(clock), clock)
    clock.at += 10.5
    assert limiter.count_key(1) == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "50s",
    }
    limiter.count_key(1)
    limiter.count_key(2)
    with pytest.raises(RateLimitedError, match="more than 2 requests in 60 seconds; try again in 50") as caught:
        limiter.count_key(1)
    assert caught.value.headers["Retry-After"] == "50"
    assert caught.value.headers["x-ratelimit-remaining-requests"] == "0"
    assert limiter.count_address("::1") == {}


def test_settings_that_are_no_limits_are_named() -> None:
    assert limits_of(Settings()) == Limits()
    assert limits_of(Settings(host="0.0.0.0", limit_keys="off")).keys is None
    assert str(limits_of(Settings(host="0.0.0.0")).anonymous) == "120 per 1 minute"
    with pytest.raises(RejoinderError, match=r"REJOINDER_LIMIT_KEYS.*'many', expected off or a limit such as"):
        read_settings(limit_keys="many")


# On the service


@pytest.fixture
def whole_window() -> None:
    """Wait out the end of a minute, so that a test sees one window."""
    left = 60 - time.time() % 60
    if left < 8:
        time.sleep(left + 0.1)


@pytest.mark.usefixtures("whole_window")
def test_keys_and_addresses_have_their_limits(
    start: Callable[..., TestClient], database_url: str, bot: FakeBot, rows: Callable
) -> None:
    client = start(bot, database_url=database_url, limit_keys="5/minute", limit_anonymous="3/minute", **PUBLIC)
    one, two = key_headers(client, "chat"), key_headers(client, "chat")
    statuses = [client.post("/v1/chat/completions", json=BODY, headers=one).status_code for _ in range(7)]
    assert statuses == [200] * 5 + [429] * 2
    refused = client.get("/v1/models", headers=one)
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    told = client.get("/v1/models", headers=two)
    assert (told.status_code, told.headers["x-ratelimit-remaining-requests"]) == (200, "4")
    # Who guesses is stopped, and still the good key of the same address works.
    assert [client.get("/v1/models", headers=bearer("x")).status_code for _ in range(5)] == [401] * 3 + [429] * 2
    assert client.get("/v1/models", headers=two).status_code == 200
    assert client.get("/health/live").status_code == 200
    end = time.monotonic() + 10
    while len(found := rows(client, "rate_counter")) < 3:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert sorted(row["bucket"].split("/")[1] for row in found) == ["address", "key", "key"]
    assert "testclient" not in str(found)


@pytest.mark.usefixtures("whole_window")
def test_raters_have_a_limit_of_their_own(start: Callable[..., TestClient], bot: FakeBot) -> None:
    client = start(bot, limit_anonymous="1/minute", limit_raters="20/minute", anonymous="all", **PUBLIC)
    client.get("/v1/models")
    assert client.get("/v1/models").status_code == 429
    statuses = [client.get("/v1/studies/x/next").status_code for _ in range(25)]
    assert statuses == [404] * 20 + [429] * 5


@pytest.mark.usefixtures("whole_window")
def test_two_replicas_count_together(serve: Serving, database_url: str, tmp_path: Path) -> None:
    settings = Settings(state=tmp_path, database_url=database_url, limit_keys="40/minute", **PUBLIC)
    app_one, app_two = app_of(settings, FakeBot()), app_of(settings, FakeBot())
    addresses = [serve(app, settings) for app in (app_one, app_two)]
    headers = key_headers(app_one, "chat")
    with httpx.Client(headers=headers) as client:
        for address in addresses:
            for _ in range(20):
                assert client.get(f"{address}/v1/models").status_code == 200
        for address in addresses:  # who told before the other did learns of it with what they count next
            time.sleep(1.2)
            client.get(f"{address}/v1/models")
        time.sleep(2.5)
        for address in addresses:
            response = client.get(f"{address}/v1/models")
            assert response.status_code == 429, response.headers


def from_addresses(address: str, forwarded: list[str]) -> list[int]:
    with httpx.Client() as client:
        return [client.get(f"{address}/v1/models", headers={"X-Forwarded-For": one}).status_code for one in forwarded]


@pytest.mark.usefixtures("whole_window")
def test_a_forwarded_address_is_believed_of_a_trusted_proxy_alone(serve: Serving, tmp_path: Path) -> None:
    limits: dict[str, Any] = {"anonymous": "all", "limit_anonymous": "2/minute", **PUBLIC}
    callers = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.1", "203.0.113.1"]
    for folder, proxies, expected in (
        ("nobody", "", [200, 200, 429, 429, 429]),
        ("other", "192.0.2.1", [200, 200, 429, 429, 429]),
        ("ours", "127.0.0.0/8", [200, 200, 200, 200, 429]),
    ):
        settings = Settings(state=tmp_path / folder, trusted_proxies=proxies, **limits)
        assert from_addresses(serve(app_of(settings, FakeBot()), settings), callers) == expected, folder


@pytest.mark.usefixtures("whole_window")
def test_openais_client_waits_as_it_is_told(serve: Serving, tmp_path: Path) -> None:
    settings = Settings(state=tmp_path, limit_keys="1/minute", **PUBLIC)
    app = app_of(settings, FakeBot())
    address = serve(app, settings)
    key = new_key(app, "chat").secret
    with openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0) as official:
        official.models.list()
        with pytest.raises(openai.RateLimitError) as caught:
            official.models.list()
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["retry-after"]


def test_nothing_is_counted_on_ones_own_machine(client: TestClient, rows: Callable) -> None:
    owner = Owner(client).running(n=2)
    owner.rater().finish()
    for _ in range(150):
        assert "x-ratelimit-limit-requests" not in client.get("/v1/models").headers
    assert rows(client, "rate_counter") == rows(client, "daily_secret") == rows(client, "api_key") == []


@pytest.fixture
def silent(start: Callable[..., TestClient], bot: FakeBot) -> TestClient:
    return start(bot, **PUBLIC)


def test_a_database_that_fails_loses_no_counts_and_stops_no_known_key(silent: TestClient) -> None:
    headers = key_headers(silent, "chat")
    assert silent.get("/v1/models", headers=headers).status_code == 200
    database: Database = silent.app.state.database  # type: ignore[attr-defined]
    with database.writing() as session:
        session.execute(sa.text("alter table rate_counter rename to elsewhere"))
    for _ in range(5):
        assert silent.get("/v1/models", headers=headers).status_code == 200
    time.sleep(1.5)
    with database.writing() as session:
        session.execute(sa.text("alter table elsewhere rename to rate_counter"))
    end = time.monotonic() + 10
    while True:
        with database.reading() as session:
            counted = session.scalar(sa.select(sa.func.sum(RateCounter.hits)).where(RateCounter.ends_at > now()))
        if counted == 6:
            break
        assert time.monotonic() < end, counted
        time.sleep(0.1)
