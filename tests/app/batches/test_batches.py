"""Batches through OpenAI's own client: everything answered once and in order, and what stops them."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
import sqlalchemy as sa
from openai import OpenAI
from sqlalchemy.exc import OperationalError

from app.batches.runs import open_patient_engine
from app.settings import Settings
from tests.app.conftest import Serving
from tests.app.fakes import FakeBot, app_of

URL = "/v1/chat/completions"
FINISHED = ("completed", "failed", "expired", "cancelled")


@contextmanager
def client_of(address: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def bot() -> FakeBot:
    return FakeBot()


@pytest.fixture
def official(serve: Serving, tmp_path: Path, bot: FakeBot) -> Iterator[OpenAI]:
    with client_of(serve(app_of(Settings(state=tmp_path), bot))) as client:
        yield client


def request(custom_id: str, content: object = None, **more: object) -> dict[str, Any]:
    body = {"model": "fake", "messages": [{"role": "user", "content": content or f"hello {custom_id}"}], **more}
    return {"custom_id": custom_id, "method": "POST", "url": URL, "body": body}


def upload(client: OpenAI, lines: list[Any]) -> str:
    rows = [line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode() for line in lines]
    return client.files.create(file=("requests.jsonl", b"\n".join(rows)), purpose="batch").id


def begin(client: OpenAI, lines: list[Any], window: Any = "24h", **more: Any) -> Any:
    return client.batches.create(
        input_file_id=upload(client, lines), endpoint=URL, completion_window=window, extra_body=more
    )


def until(client: OpenAI, batch_id: str, *statuses: str) -> Any:
    end = time.monotonic() + 30
    while (batch := client.batches.retrieve(batch_id)).status not in statuses:
        assert time.monotonic() < end, batch
        assert batch.status not in FINISHED, batch
        time.sleep(0.05)
    return batch


def soon(come: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not come():
        assert time.monotonic() < end
        time.sleep(0.02)


def rows(client: OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id is not None
    return [json.loads(line) for line in client.files.content(file_id).text.splitlines()]


def test_every_line_is_answered_once_and_in_order(official: OpenAI, bot: FakeBot) -> None:
    """200 lines, the fifth of each ten bad in some way; line i without a seed of its own is drawn with 1000 + i."""
    bad: list[tuple[Any, str, int]] = [
        (b"{never closed", "invalid_json", 400),
        (request("bad 1", temperature=9), "invalid_request_error", 400),
        (request("bad 2", model="none"), "model_not_found", 404),
        (request("bad 3", "break down"), "generation_failed", 500),
        (request("bad 4", "refuse me"), "invalid_request_error", 400),
        ({"custom_id": "bad 5"}, "missing", 400),
        (request("bad 6", messages=[]), "too_short", 400),
    ]
    lines: list[Any] = [request(f"{i} 好") for i in range(200)]
    lines[7] = request("own seed", seed=5, n=2)
    where = range(5, 200, 29)
    for place, (line, _, _) in zip(where, bad, strict=True):
        lines[place] = line
    lines.insert(100, b"  ")
    batch = begin(official, lines, seed=1000, metadata={"team": "七"})
    assert batch.object == "batch"
    assert batch.endpoint == URL
    assert batch.metadata == {"team": "七"}
    batch = until(official, batch.id, "completed")
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (200, 193, 7)
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at <= batch.expires_at
    assert batch.errors is None

    good = [(i + 1, line) for i, line in enumerate(lines) if isinstance(line, dict) and "好" in line["custom_id"]]
    output = rows(official, batch.output_file_id)
    own = output.pop(7 - 1)
    assert own["custom_id"] == "own seed"
    assert [c["message"]["content"] for c in own["response"]["body"]["choices"]] == [
        "hello own seed, 5/0",
        "hello own seed, 5/1",
    ]
    assert [row["custom_id"] for row in output] == [line["custom_id"] for _, line in good]
    assert [row["response"]["body"]["choices"][0]["message"]["content"] for row in output] == [
        f"hello {line['custom_id']}, {1000 + number}/0" for number, line in good
    ]
    assert {row["response"]["status_code"] for row in output} == {200}
    assert len({row["id"] for row in output}) == len(output)

    errors = rows(official, batch.error_file_id)
    numbers = [place + 1 + (place >= 100) for place in where]
    assert [row["error"]["line"] for row in errors] == numbers
    assert all(row["error"]["message"].startswith(f"line {row['error']['line']}: ") for row in errors)
    assert [(row["error"]["code"], row["response"]["status_code"]) for row in errors] == [
        (code, status) for _, code, status in bad
    ]
    assert [row["custom_id"] for row in errors] == [None, *(f"bad {i}" for i in range(1, 7))]
    assert errors[1]["error"]["param"] == "temperature"
    for name, file_id in (("output", batch.output_file_id), ("error", batch.error_file_id)):
        stored = official.files.retrieve(file_id)
        assert (stored.filename, stored.purpose) == (f"{batch.id}_{name}.jsonl", "batch_output")


def test_the_same_file_and_seed_give_the_same_replies_and_they_can_be_rated(serve: Serving, tmp_path: Path) -> None:
    address = serve(app_of(Settings(state=tmp_path), FakeBot()))
    with client_of(address) as client:
        lines = [request(str(i)) for i in range(3)]
        batches = [begin(client, lines, seed=seed) for seed in (3, 3, 4)]
        texts = []
        for batch in batches:
            assert batch.seed in (3, 4)
            found = rows(client, until(client, batch.id, "completed").output_file_id)
            texts.append([row["response"]["body"]["choices"][0]["message"]["content"] for row in found])
        assert texts[0] == texts[1] == ["hello 0, 4/0", "hello 1, 5/0", "hello 2, 6/0"]
        assert texts[2] == ["hello 0, 5/0", "hello 1, 6/0", "hello 2, 7/0"]
        reply_id = found[0]["response"]["body"]["choices"][0]["reply_id"]
        client.post("/ratings", body={"reply_id": reply_id, "thumb": 1}, cast_to=object)


def test_files_that_are_spoilt_as_a_whole_fail(official: OpenAI, bot: FakeBot) -> None:
    batch = until(official, begin(official, [request("a"), request("b"), request("a")]).id, "failed")
    [fault] = batch.errors.data
    assert (fault.code, fault.line, fault.param) == ("duplicate_custom_id", 3, "custom_id")
    assert "line 1" in fault.message
    assert batch.failed_at is not None
    assert batch.output_file_id is batch.error_file_id is None
    assert until(official, begin(official, [b"\n  \n"]).id, "failed").errors.data[0].code == "empty_file"
    assert bot.batches == []


def test_a_batch_of_bad_lines_alone_has_no_output_file(official: OpenAI) -> None:
    batch = until(official, begin(official, [b"7", b"8"]).id, "completed")
    assert batch.output_file_id is None
    assert [row["error"]["line"] for row in rows(official, batch.error_file_id)] == [1, 2]


def test_what_cannot_be_a_batch_is_refused(official: OpenAI) -> None:
    file_id = upload(official, [request("a")])

    def create(**changed: Any) -> Any:
        given = {"input_file_id": file_id, "endpoint": URL, "completion_window": "24h", **changed}
        return official.batches.create(**given)

    for changed, param in (
        ({"endpoint": "/v1/embeddings"}, "endpoint"),
        ({"completion_window": "soon"}, "completion_window"),
        ({"metadata": {"a": 7}}, "metadata.a"),
        ({"metadata": {str(i): "" for i in range(17)}}, "metadata"),
        ({"extra_body": {"seed": -1}}, "seed"),
        ({"extra_body": {"unknown": 1}}, "unknown"),
    ):
        with pytest.raises(openai.BadRequestError) as bad:
            create(**changed)
        assert bad.value.param == param
    with pytest.raises(openai.NotFoundError) as missing:
        create(input_file_id="file-0")
    assert missing.value.param == "input_file_id"
    with pytest.raises(openai.NotFoundError):
        official.batches.retrieve("batch_0")
    with pytest.raises(openai.NotFoundError):
        official.batches.cancel("../x")
    assert list(official.batches.list()) == []


def test_batches_are_listed_newest_first_and_a_repeated_request_is_one_batch(official: OpenAI) -> None:
    ids = [begin(official, [request("a")]).id for _ in range(4)]
    assert [one.id for one in official.batches.list(limit=3)] == ids[::-1]
    file_id = upload(official, [request("a")])

    def create() -> str:
        return official.batches.create(
            input_file_id=file_id, endpoint=URL, completion_window="24h", extra_headers={"Idempotency-Key": "k"}
        ).id

    assert create() == create()
    assert len(list(official.batches.list())) == 5
    for one in official.batches.list():
        until(official, one.id, "completed")


def test_an_output_cannot_be_an_input(official: OpenAI) -> None:
    batch = until(official, begin(official, [request("a")]).id, "completed")
    with pytest.raises(openai.BadRequestError) as bad:
        official.batches.create(input_file_id=batch.output_file_id, endpoint=URL, completion_window="24h")
    assert bad.value.param == "input_file_id"
    official.files.delete(batch.input_file_id)  # no longer needed
    assert official.batches.retrieve(batch.id).input_file_id == batch.input_file_id


def test_a_cancelled_batch_keeps_what_was_answered(serve: Serving, tmp_path: Path) -> None:
    bot = FakeBot(seconds=0.1)
    with client_of(serve(app_of(Settings(state=tmp_path, batch_size=8), bot))) as client:
        batch = begin(client, [request(str(i)) for i in range(400)])  # four seconds of work
        soon(lambda: client.batches.retrieve(batch.id).request_counts.completed >= 64)
        with pytest.raises(openai.ConflictError) as needed:
            client.files.delete(batch.input_file_id)
        assert needed.value.code == "file_in_use"
        assert client.batches.cancel(batch.id).status == "cancelling"
        assert client.batches.cancel(batch.id).cancelling_at is not None
        batch = until(client, batch.id, "cancelled")
        assert batch.cancelled_at is not None
        output, errors = rows(client, batch.output_file_id), rows(client, batch.error_file_id)
        assert batch.request_counts.completed == len(output) >= 64
        assert batch.request_counts.failed == len(errors) > 200
        assert sorted(int(row["custom_id"]) for row in output + errors) == list(range(400))
        assert {row["error"]["code"] for row in errors} == {"batch_cancelled"}
        assert all(row["response"] is None for row in errors)
        with pytest.raises(openai.ConflictError):
            client.batches.cancel(batch.id)


def test_a_batch_expires_and_says_so_for_each_line(serve: Serving, tmp_path: Path) -> None:
    bot = FakeBot(gate=threading.Event())
    with client_of(serve(app_of(Settings(state=tmp_path), bot))) as client:
        batch = begin(client, [request("a"), request("b"), b"bad"], window="4s")
        batch = until(client, batch.id, "expired")
        bot.gate.set()  # type: ignore[union-attr]
        assert batch.expired_at >= batch.expires_at - 1
        assert batch.output_file_id is None
        errors = rows(client, batch.error_file_id)
        assert [row["error"]["code"] for row in errors] == ["batch_expired", "batch_expired", "invalid_json"]
        assert [row["custom_id"] for row in errors] == ["a", "b", None]


def test_those_before_a_screen_go_first(serve: Serving, tmp_path: Path) -> None:
    """With one lane and a slow bot, 60 lines wait; a completion asked for then is answered before most of them."""
    bot = FakeBot(seconds=0.05)
    with client_of(serve(app_of(Settings(state=tmp_path, batch_size=1), bot))) as client:
        batch = begin(client, [request(str(i)) for i in range(60)])
        soon(lambda: len(bot.batches) >= 2)
        before = len(bot.batches)
        client.chat.completions.create(model="fake", messages=[{"role": "user", "content": "urgent"}])
        place = next(i for i, one in enumerate(bot.batches) if any(r.turns[-1] == "urgent" for r in one))
        assert place - before <= 4
        until(client, batch.id, "completed")


def test_a_full_queue_only_slows_a_batch_down(serve: Serving, tmp_path: Path) -> None:
    with client_of(serve(app_of(Settings(state=tmp_path, queue_capacity=3, batch_size=2), FakeBot()))) as client:
        batch = until(client, begin(client, [request(str(i)) for i in range(20)]).id, "completed")
        assert batch.request_counts.completed == 20


def test_a_service_that_stops_half_way_goes_on_when_it_is_started_again(
    serve: Serving, tmp_path: Path, database_url: str
) -> None:
    settings = Settings(state=tmp_path, database_url=database_url, takeover_seconds=60, batch_size=16)
    with client_of(serve(app_of(settings, FakeBot(seconds=0.3)))) as client:
        batch = begin(client, [request(str(i)) for i in range(300)], seed=0)
        soon(lambda: client.batches.retrieve(batch.id).request_counts.completed > 0)
    serve.stop()
    with client_of(serve(app_of(settings, FakeBot()))) as client:
        done = until(client, batch.id, "completed")  # at once: the first one said that it left
        found = rows(client, done.output_file_id)
        assert [row["custom_id"] for row in found] == [str(i) for i in range(300)]
        assert [row["response"]["body"]["choices"][0]["message"]["content"] for row in found] == [
            f"hello {i}, {i + 1}/0" for i in range(300)
        ]


def test_a_step_that_cannot_be_written_down_is_gone_on_with(
    serve: Serving, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DBOS tries to write down the fault, too, and gives up when it cannot."""
    from dbos._sys_db import SystemDatabase

    record = SystemDatabase.record_operation_result
    lost = ["finish", "finish", "answer", "answer", "read", "read"]

    def fail(books: SystemDatabase, result: Any, **more: Any) -> None:
        if lost and result["function_name"] == lost[-1]:
            lost.pop()
            raise OperationalError("insert", None, Exception("no words that it knows"))
        record(books, result, **more)

    monkeypatch.setattr(SystemDatabase, "record_operation_result", fail)
    settings = Settings(state=tmp_path, database_url=database_url, takeover_seconds=1, batch_size=16)
    with client_of(serve(app_of(settings, FakeBot()))) as client:
        done = until(client, begin(client, [request(str(i)) for i in range(200)]).id, "completed")
        assert [row["custom_id"] for row in rows(client, done.output_file_id)] == [str(i) for i in range(200)]
    assert not lost


def test_the_books_wait_for_a_server_that_has_no_socket(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    from dbos._utils import retriable_postgres_exception

    with pytest.raises(OperationalError) as needed:
        open_patient_engine(f"postgresql://nobody@/nothing?host={tmp_path}").connect()
    assert retriable_postgres_exception(needed.value)


def test_the_books_wait_for_a_lock(postgres: str) -> None:
    from dbos._utils import retriable_postgres_exception

    engine = open_patient_engine(postgres)
    with engine.begin() as holder, engine.connect() as other:
        holder.execute(sa.text("SELECT pg_advisory_xact_lock(7)"))
        other.execute(sa.text("SET lock_timeout = '50ms'"))
        with pytest.raises(OperationalError) as needed:
            other.execute(sa.text("SELECT pg_advisory_xact_lock(7)"))
        assert retriable_postgres_exception(needed.value)
    engine.dispose()
