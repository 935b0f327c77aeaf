"""`POST /v1/replies`: many contexts in one call."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from tests.app.fakes import FakeBot


def ask(client: TestClient, contexts: object, **more: object):
    return client.post("/v1/replies", json={"model": "fake", "contexts": contexts, **more})


def test_answers_come_in_order_from_one_batch_and_are_stored(
    any_client: TestClient, bot: FakeBot, rows: Callable
) -> None:
    contexts = [["b"], ["a", "x", "c"], ["b"], ["d"]]
    body = ask(any_client, contexts, seed=10, n=2).json()
    assert [one["index"] for one in body["data"]] == [0, 1, 2, 3]
    assert [[reply["text"] for reply in one["replies"]] for one in body["data"]] == [
        ["b, 10/0", "b, 10/1"],
        ["c, 11/0", "c, 11/1"],
        ["b, 12/0", "b, 12/1"],
        ["d, 13/0", "d, 13/1"],
    ]
    assert [one["seed"] for one in body["data"]] == [10, 11, 12, 13]
    assert body["usage"]["completion_tokens"] == 40
    assert sum(len(batch) for batch in bot.batches) == 4
    stored = rows(any_client, "response")
    assert {row["id"] for row in stored} == {r["reply_id"] for one in body["data"] for r in one["replies"]}
    assert len(rows(any_client, "context")) == 3
    assert len({row["system_id"] for row in stored}) == 1


def test_one_of_them_alone_is_drawn_as_in_the_list(client: TestClient) -> None:
    listed = ask(client, [["a"], ["b"]], seed=2**63 - 1).json()["data"][1]
    alone = ask(client, [["b"]], seed=listed["seed"]).json()["data"][0]
    assert alone["replies"][0]["text"] == listed["replies"][0]["text"]


def test_a_list_longer_than_the_lanes_is_drawn_as_they_become_free(
    start: Callable[..., TestClient], bot: FakeBot
) -> None:
    client = start(bot, batch_size=4)
    body = ask(client, [[str(i)] for i in range(10)], seed=0).json()
    assert [one["replies"][0]["text"] for one in body["data"]] == [f"{i}, {i}/0" for i in range(10)]
    assert sum(len(batch) for batch in bot.batches) == 10
    assert max(len(batch) for batch in bot.batches) <= 5  # four lanes and one that waits beside them


@pytest.mark.parametrize(
    ("contexts", "param"),
    [
        ([], "contexts"),
        ([[]], "contexts[0]"),
        (["a"], "contexts[0]"),
        ([["a"], ["b", ""]], "contexts[1][1]"),
        ([["a"], ["b", 5]], "contexts[1][1]"),
        ([["a\x00"]], "contexts[0][0]"),
        ([["a"]] * 129, "contexts"),
        ([["a"] * 257], "contexts[0]"),
        ([["x" * 16_001]], "contexts[0][0]"),
        ([["fine"], ["refuse me"]], "turns"),
    ],
)
def test_one_bad_context_refuses_the_whole_call(
    client: TestClient, rows: Callable, contexts: object, param: str
) -> None:
    response = ask(client, contexts)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert rows(client, "response") == []


def test_candidates_of_the_whole_call_are_limited(client: TestClient) -> None:
    assert ask(client, [["a"]] * 64, best_of=4).status_code == 200
    assert ask(client, [["a"]] * 65, best_of=4).json()["error"]["param"] == "best_of"


def test_calls_with_the_same_contexts_in_other_orders_do_not_lock_each_other(
    any_client: TestClient, rows: Callable
) -> None:
    def call(number: int) -> int:
        contexts = [[f"{number // 2}/{i}"] for i in range(60)]
        return ask(any_client, contexts if number % 2 else contexts[::-1]).status_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(8))) == [200] * 8
    assert len(rows(any_client, "context")) == 240
