"""The wall clock jumps by an hour, either way: every item still gets exactly its judgements, and nothing is lost.

Queues, deadlines, and who is taken for dead go by the clock that only counts up; leases and windows by the wall's.
"""

import datetime
import json
import time
from collections import Counter
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from app.database import now
from tests.app.conftest import any_client, bot, database_url, rows, start
from tests.app.people import Json, Owner, RaterClient

__all__ = ["any_client", "bot", "database_url", "rows", "start"]

HOUR = datetime.timedelta(hours=1)
Rows = Callable[..., list[dict[str, object]]]


class Clock:
    """The wall clock as the service sees it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = ahead = [datetime.timedelta()]

        class Shifted(datetime.datetime):
            @classmethod
            def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
                return datetime.datetime.now(tz) + ahead[0]

        monkeypatch.setattr("app.database.datetime", Shifted)
        before = now()
        self.jump(HOUR)
        assert now() - before >= HOUR  # it is this clock that the service reads
        self.jump(-HOUR)

    def jump(self, by: datetime.timedelta) -> None:
        self.ahead[0] += by


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 25 * HOUR])
def test_exactly_k_judgements_whatever_the_clock_does(
    any_client: TestClient, rows: Rows, clock: Clock, jump: datetime.timedelta
) -> None:
    """Four raters, k = 2: each holds an item while the clock jumps, and jumps back, and hands it in afterwards."""
    owner = Owner(any_client).running(n=8, k=2, lease_seconds=60)
    raters = [owner.rater() for _ in range(4)]
    acknowledged: list[int] = []
    for turn in range(40):
        held: list[tuple[RaterClient, Json]] = []
        for rater in raters:
            task = rater.next()["task"]
            if task is not None:
                held.append((rater, task))
        if not held:
            break
        clock.jump(jump if turn % 2 == 0 else -jump)
        for rater, task in held:
            response = rater.judge(task, "tie")
            if response.status_code == 201:
                acknowledged += response.json()["judgement_ids"]
            else:  # only where others have taken the place meanwhile
                assert (response.status_code, response.json()["error"]["code"]) == (409, "lease_expired")
    assert owner.progress()["complete"]
    done = Counter(row["item_id"] for row in rows(any_client, "assignment") if row["state"] == "done")
    assert set(done.values()) == {2}
    assert len(done) == 8
    assert sorted(row["id"] for row in rows(any_client, "judgement")) == sorted(acknowledged)
    assert all(row["dwell_ms"] >= 0 for row in rows(any_client, "judgement"))  # type: ignore[operator]


def test_back_by_an_hour_an_abandoned_item_comes_free_an_hour_late_and_no_sooner_twice(
    any_client: TestClient, clock: Clock
) -> None:
    owner = Owner(any_client).running(n=1, k=1, lease_seconds=60)
    gone, stays = owner.rater(), owner.rater()
    gone.task()
    clock.jump(-HOUR)
    assert stays.next()["reason"] == "wait"
    clock.jump(HOUR + datetime.timedelta(seconds=61))
    assert stays.judge(stays.task(), "tie").status_code == 201
    assert owner.progress()["complete"]


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_request_sent_again_counts_once(
    any_client: TestClient, rows: Rows, clock: Clock, jump: datetime.timedelta
) -> None:
    body = {"model": "fake", "messages": [{"role": "user", "content": "hello"}]}
    reply = any_client.post("/v1/chat/completions", json=body).json()["choices"][0]["reply_id"]
    answers = []
    for _ in range(3):
        rating = {"reply_id": reply, "thumb": 1}
        answers.append(any_client.post("/v1/ratings", json=rating, headers={"Idempotency-Key": "k"}).json())
        clock.jump(jump)
    assert answers[0] == answers[1] == answers[2]
    assert len(rows(any_client, "judgement")) == 1


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_batch_goes_on(start: Callable[..., TestClient], bot: object, clock: Clock, jump: datetime.timedelta) -> None:
    client = start(bot, takeover_seconds=0.5)
    lines = []
    for i in range(200):
        body = {"model": "fake", "messages": [{"role": "user", "content": f"line {i}"}]}
        lines.append(json.dumps({"custom_id": str(i), "method": "POST", "url": "/v1/chat/completions", "body": body}))
    upload = {"data": {"purpose": "batch"}, "files": {"file": ("x", "\n".join(lines).encode())}}
    file = client.post("/v1/files", **upload).json()["id"]  # type: ignore[arg-type]
    window = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = client.post("/v1/batches", json=window).json()["id"]
    clock.jump(jump)
    end = time.monotonic() + 60
    while (done := client.get(f"/v1/batches/{batch}").json())["status"] != "completed":
        assert done["status"] in ("validating", "in_progress", "finalizing"), done
        assert time.monotonic() < end, done
        time.sleep(0.05)
    assert done["request_counts"] == {"total": 200, "completed": 200, "failed": 0}
