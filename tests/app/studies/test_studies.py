"""Studies as their owner sees them: drafts, items, freezing, progress, close."""

import threading
from collections import Counter
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from app.studies.protocol import STANDARD_DIMENSIONS
from tests.app.fakes import FakeBot
from tests.app.people import FAKE, HUMAN, OTHER, Json, Owner, contexts


def error(response) -> tuple[int, str | None, str | None]:
    body = response.json()["error"]
    return response.status_code, body["code"], body["param"]


def test_a_draft_is_stored_with_its_whole_protocol(any_client: TestClient, rows: Callable) -> None:
    created = Owner(any_client).create("scale", k=5, gold_rate=0.1)
    assert created.status_code == 201
    entry = created.json()
    assert (entry["status"], entry["seed"], entry["items"]) == ("draft", 7, {})
    assert (entry["protocol"]["k"], entry["protocol"]["quality"]["min_gold_accuracy"]) == (5, 0.7)
    assert entry["protocol"]["consent"]["version"] == "1"
    assert any_client.get("/v1/studies/s").json() == entry
    assert any_client.get("/v1/studies").json()["data"] == [entry]
    assert [row["name"] for row in rows(any_client, "dimension")] == list(STANDARD_DIMENSIONS)
    assert error(Owner(any_client).create()) == (409, "study_exists", "slug")


def test_a_repeated_creation_is_one_study(any_client: TestClient, rows: Callable) -> None:
    body = {"slug": "twice", "title": "t", "protocol": {"kind": "pair"}}
    answers = [any_client.post("/v1/studies", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [one.status_code for one in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert len(rows(any_client, "study")) == 1


def test_created_at_once_by_many_it_is_created_once(any_client: TestClient, rows: Callable) -> None:
    statuses: list[int] = []
    workers = [
        threading.Thread(target=lambda: statuses.append(Owner(any_client).create().status_code)) for _ in range(6)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(statuses) == [201] + [409] * 5
    assert len(rows(any_client, "study")) == 1


def test_items_are_a_balanced_design_with_everything_attributed(any_client: TestClient, rows: Callable) -> None:
    owner = Owner(any_client)
    owner.create(aa_rate=0.2)
    cold = {**FAKE, "temperature": 0.5}
    added = owner.add([FAKE, cold, HUMAN], 12).json()
    assert (added["normal"], added["aa"], added["gold"]) == (12, 3, 0)
    items = owner.items()
    pairs = Counter(
        frozenset((one["a"]["kind"], str(one["a"]["decoding"]), one["b"]["kind"], str(one["b"]["decoding"])))
        for one in items
        if one["purpose"] == "normal"
    )
    assert sorted(pairs.values()) == [4, 4, 4]
    for one in items:
        assert one["target"] == 3
        same = one["a"]["system"] == one["b"]["system"] and one["a"]["decoding"] == one["b"]["decoding"]
        assert same == (one["purpose"] == "aa")
        question = one["messages"][0]["content"]
        assert one["messages"] == [{"role": "user", "content": question}]
        for reply in (one["a"], one["b"]):
            number = question.removeprefix("question ").removesuffix("?")
            assert reply["text"].startswith(question if reply["kind"] == "checkpoint" else f"human answer {number}")
            assert reply["weights_sha256"] == ("f" * 64 if reply["kind"] == "checkpoint" else "")
    doubles = [one for one in items if one["purpose"] == "aa"]
    assert all(one["a"]["text"] != one["b"]["text"] for one in doubles)  # drawn twice, with two seeds
    human = [row for row in rows(any_client, "system") if row["kind"] == "human"]
    assert [row["name"] for row in human] == ["human"]
    assert {row["source"] for row in rows(any_client, "context")} == {"made up"}
    seeds = [row["seed"] for row in rows(any_client, "response") if row["tokens"]]
    assert len(set(seeds)) == len(seeds)


def test_the_same_seed_gives_the_same_items(start: Callable[..., TestClient]) -> None:
    def made(client: TestClient, slug: str) -> list[tuple[str, str, str]]:
        owner = Owner(client, slug)
        owner.create()
        owner.add([FAKE, HUMAN, OTHER], 9)
        return [(one["messages"][0]["content"], one["a"]["text"], one["b"]["text"]) for one in owner.items()]

    client = start(FakeBot())
    assert made(client, "one") == made(client, "two")


def test_gold_is_given_or_made_of_human_replies_and_keeps_its_contexts(any_client: TestClient) -> None:
    owner = Owner(any_client)
    owner.create(gold_rate=0.2)
    given = {"turns": ["1 + 1?"], "replies": ["2", "banana"], "answer": {"choice": "a"}}
    added = owner.add([HUMAN, OTHER], 20, automatic_gold=5, gold=[given]).json()
    assert (added["normal"], added["gold"]) == (15, 6)
    gold = [one for one in owner.items() if one["purpose"] == "gold"]
    for one in gold:
        right, wrong = (one["a"], one["b"]) if one["gold"] == {"choice": "a"} else (one["b"], one["a"])
        if right["kind"] == "human":
            number = one["messages"][0]["content"].removeprefix("question ").removesuffix("?")
            assert right["text"] == f"human answer {number}"
            assert wrong["text"] != right["text"]
        else:
            assert (right["text"], wrong["text"]) == ("2", "banana")
    ordinary = {one["messages"][0]["content"] for one in owner.items() if one["purpose"] == "normal"}
    assert ordinary.isdisjoint(one["messages"][0]["content"] for one in gold)


def test_gold_on_scales_and_human_or_machine(client: TestClient) -> None:
    scale, turing = Owner(client, "scale"), Owner(client, "turing")
    scale.create("scale")
    turing.create("turing")
    scale.add([HUMAN], 4, automatic_gold=2)
    turing.add([HUMAN, OTHER], 4, automatic_gold=2)
    assert [one["gold"] for one in scale.items() if one["gold"]] == [{"dimension": "sensible", "low": 1, "high": 2}] * 2
    assert [one["gold"] for one in turing.items() if one["gold"]] == [{"choice": "machine"}] * 2


def test_a_running_study_is_frozen(any_client: TestClient, rows: Callable) -> None:
    owner = Owner(any_client).running(repeat_rate=0.25)
    assert error(owner.add([HUMAN, OTHER]))[:2] == (409, "study_frozen")
    assert any_client.delete("/v1/studies/s").status_code == 409
    assert owner.post("start").status_code == 200  # again: nothing changes
    assert Counter(row["purpose"] for row in rows(any_client, "item")) == {"normal": 6, "repeat": 2}
    closed = owner.post("close").json()
    assert closed["status"] == "closed"
    assert owner.post("close").json() == closed
    assert error(owner.post("start"))[:2] == (409, "study_closed")
    assert error(owner.post("invitations", {}))[:2] == (409, "study_closed")
    actions = [row["action"] for row in rows(any_client, "audit_event")]
    assert actions == ["create", "add items", "start", "close"]


def test_started_at_once_by_two_it_starts_once(any_client: TestClient, rows: Callable) -> None:
    owner = Owner(any_client)
    owner.create(repeat_rate=0.25)
    owner.add([HUMAN, OTHER])
    statuses: list[int] = []
    workers = [threading.Thread(target=lambda: statuses.append(owner.post("start").status_code)) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert statuses == [200] * 6
    assert Counter(row["purpose"] for row in rows(any_client, "item")) == {"normal": 6, "repeat": 2}


def test_what_cannot_run_is_not_started(client: TestClient) -> None:
    empty, gold = Owner(client, "empty"), Owner(client, "gold")
    empty.create()
    assert error(empty.post("start"))[:2] == (409, "study_empty")
    assert error(empty.post("close"))[:2] == (409, "study_not_running")
    gold.create(gold_rate=0.1)
    gold.add([HUMAN, OTHER])
    assert error(gold.post("start"))[:2] == (409, "study_gold")


def test_a_draft_can_be_deleted(any_client: TestClient, rows: Callable) -> None:
    owner = Owner(any_client)
    owner.create("scale")
    owner.add([HUMAN])
    any_client.post("/v1/raters/join", json={"token": owner.invite()})
    assert any_client.delete("/v1/studies/s").status_code == 204
    assert any_client.get("/v1/studies/s").status_code == 404
    for table in ("study", "dimension", "item", "invitation", "rater"):
        assert rows(any_client, table) == []


def test_progress_counts_what_there_is(any_client: TestClient) -> None:
    owner = Owner(any_client).running(n=5, k=1, gold_rate=0.5, items={"automatic_gold": 2})
    assert owner.progress()["purposes"]["normal"] == {"items": 3, "done_items": 0, "judgements": 0, "wanted": 3}
    assert owner.progress()["purposes"]["gold"]["wanted"] is None
    rater = owner.rater()
    rater.task()
    assert (owner.progress()["open_leases"], owner.progress()["raters_active"]) == (1, 0)
    rater.finish()
    found = owner.progress()
    assert (found["complete"], found["open_leases"], found["raters_active"], found["raters_agreed"]) == (True, 0, 1, 1)
    page = any_client.get("/v1/studies/s/items", params={"limit": 2}).json()
    assert (len(page["data"]), page["has_more"]) == (2, True)
    rest = any_client.get("/v1/studies/s/items", params={"after": page["last_id"]}).json()
    assert (len(rest["data"]), rest["has_more"]) == (3, False)


def test_a_model_that_fails_leaves_no_items(any_client: TestClient, rows: Callable) -> None:
    owner = Owner(any_client)
    owner.create()
    broken = [*contexts(2), {"turns": ["break down"], "reply": "ouch"}]
    assert owner.add([FAKE, HUMAN], broken).status_code == 500
    assert rows(any_client, "item") == rows(any_client, "response") == rows(any_client, "context") == []
    refused = owner.add([FAKE, HUMAN], [{"turns": ["refuse me"], "reply": "no"}])
    assert refused.status_code == 400


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"slug": ""}, "slug"),
        ({"slug": "With Spaces"}, "slug"),
        ({"slug": "-x"}, "slug"),
        ({"slug": "x" * 65}, "slug"),
        ({"title": ""}, "title"),
        ({"title": "\x00"}, "title"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**53}, "seed"),
        ({"status": "running"}, "status"),
        ({"protocol": None}, "protocol"),
        ({"protocol": {}}, "protocol.kind"),
        ({"protocol": {"kind": "poll"}}, "protocol.kind"),
        ({"protocol": {"kind": "pair", "k": 0}}, "protocol.k"),
        ({"protocol": {"kind": "pair", "k": True}}, "protocol.k"),
        ({"protocol": {"kind": "pair", "lease_seconds": 0}}, "protocol.lease_seconds"),
        ({"protocol": {"kind": "pair", "gold_rate": 0.6}}, "protocol.gold_rate"),
        ({"protocol": {"kind": "pair", "raters": 3}}, "protocol.raters"),
        ({"protocol": {"kind": "pair", "dimensions": []}}, "protocol"),
        ({"protocol": {"kind": "scale", "dimensions": []}}, "protocol"),
        ({"protocol": {"kind": "scale", "dimensions": [{"name": "nice"}]}}, "protocol.dimensions[0].anchors"),
        (
            {"protocol": {"kind": "scale", "dimensions": [{"name": "nice", "anchors": {"1": "no"}}]}},
            "protocol.dimensions[0]",
        ),
        ({"protocol": {"kind": "scale", "aa_rate": 0.1}}, "protocol"),
        ({"protocol": {"kind": "pair", "reveal": True, "repeat_rate": 0.1}}, "protocol"),
        ({"protocol": {"kind": "pair", "quality": {"min_gold_accuracy": 2}}}, "protocol.quality.min_gold_accuracy"),
        ({"protocol": {"kind": "pair", "quality": {"speed": 2}}}, "protocol.quality.speed"),
        ({"protocol": {"kind": "pair", "consent": {"version": ""}}}, "protocol.consent.version"),
        ({"protocol": {"kind": "pair", "daily_cap": 0}}, "protocol.daily_cap"),
    ],
)
def test_bad_studies_are_refused_by_name(
    standing_client: TestClient, rows: Callable, changed: Json, param: str
) -> None:
    before = rows(standing_client, "study")
    body = {"slug": "bad", "title": "t", "protocol": {"kind": "pair"}, **changed}
    response = standing_client.post("/v1/studies", json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param), response.text
    assert rows(standing_client, "study") == before


GOLD = {"turns": ["q"], "replies": ["x", "y"], "answer": {"choice": "a"}}


@pytest.mark.parametrize(
    ("kind", "body", "param"),
    [
        ("pair", {}, "systems"),
        ("pair", {"count": 3}, "systems"),
        ("pair", {"systems": [HUMAN]}, "systems"),
        ("pair", {"systems": [HUMAN, HUMAN]}, "systems[1]"),
        ("pair", {"systems": [HUMAN, {"kind": "alien"}]}, "systems[1].kind"),
        ("pair", {"systems": [HUMAN, {"kind": "model"}]}, "systems[1].model"),
        ("pair", {"systems": [HUMAN, {"kind": "model", "model": "none"}]}, "model"),
        ("pair", {"systems": [HUMAN, {**FAKE, "n": 2}]}, "systems[1].n"),
        ("pair", {"systems": [HUMAN, {**FAKE, "seed": 2}]}, "systems[1].seed"),
        ("pair", {"systems": [HUMAN, {**OTHER, "temperature": 1.0}]}, "systems[1].temperature"),
        ("pair", {"systems": [{**HUMAN, "name": "x"}, OTHER]}, "systems[0].name"),
        ("pair", {"systems": [HUMAN, {"kind": "replies"}]}, "systems[1].name"),
        (
            "pair",
            {"systems": [HUMAN, {"kind": "replies", "name": "who"}], "contexts": contexts(1)},
            "contexts[0].replies",
        ),
        ("pair", {"systems": [HUMAN, OTHER], "contexts": []}, "contexts"),
        ("pair", {"systems": [HUMAN, OTHER], "contexts": [{"turns": []}]}, "contexts[0].turns"),
        ("pair", {"systems": [HUMAN, OTHER], "contexts": [{"turns": [" "]}]}, "contexts[0].turns[0]"),
        (
            "pair",
            {"systems": [HUMAN, OTHER], "contexts": [{"turns": ["x"], "replies": {"other": "y"}}]},
            "contexts[0].reply",
        ),
        ("pair", {"systems": [HUMAN, OTHER], "contexts": [{"turns": ["\x00"]}]}, "contexts[0].turns[0]"),
        ("pair", {"systems": [HUMAN, OTHER], "count": 0}, "count"),
        ("pair", {"systems": [HUMAN, OTHER], "count": 4}, "count"),
        ("pair", {"systems": [HUMAN, OTHER], "automatic_gold": 4}, "automatic_gold"),
        ("pair", {"systems": [HUMAN, OTHER], "automatic_gold": 3}, "contexts"),
        ("pair", {"gold": [{**GOLD, "replies": ["x"]}]}, "gold[0].replies"),
        ("pair", {"gold": [{**GOLD, "replies": ["x", ""]}]}, "gold[0].replies[1]"),
        ("pair", {"gold": [{**GOLD, "answer": {"choice": "human"}}]}, "gold[0].answer"),
        ("pair", {"gold": [{**GOLD, "answer": {"choice": "left"}}]}, "gold[0].answer.choice"),
        ("pair", {"gold": [{**GOLD, "answer": {}}]}, "gold[0].answer"),
        ("turing", {"systems": [OTHER, {**OTHER, "name": "x"}]}, "systems"),
        ("turing", {"systems": [HUMAN]}, "systems"),
        (
            "scale",
            {"gold": [{"turns": ["q"], "replies": ["x"], "answer": {"choice": "a"}}]},
            "gold[0].answer.dimension",
        ),
        (
            "scale",
            {"gold": [{"turns": ["q"], "replies": ["x"], "answer": {"dimension": "fluent", "low": 3, "high": 2}}]},
            "gold[0].answer",
        ),
    ],
)
def test_bad_items_are_refused_by_name(
    standing_client: TestClient, rows: Callable, kind: str, body: Json, param: str
) -> None:
    Owner(standing_client, kind).create(kind)
    response = standing_client.post(f"/v1/studies/{kind}/items", json={"contexts": contexts(3), **body})
    assert response.status_code in (400, 404)
    assert response.json()["error"]["param"] == param, response.text
    assert rows(standing_client, "item") == []


def test_a_discriminator_is_needed_to_pick_the_best(start: Callable[..., TestClient]) -> None:
    owner = Owner(start(FakeBot(has_discriminator=False)))
    owner.create()
    assert error(owner.add([HUMAN, {**FAKE, "best_of": 4}]))[2] == "systems[1].best_of"


def test_aa_needs_a_model(client: TestClient) -> None:
    owner = Owner(client)
    owner.create(aa_rate=0.1)
    assert error(owner.add([HUMAN, OTHER]))[2] == "systems"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/start"),
        ("POST", "/close"),
        ("GET", "/progress"),
        ("GET", "/items"),
        ("POST", "/items"),
        ("POST", "/items/1/withdraw"),
        ("GET", "/next"),
        ("POST", "/invitations"),
        ("GET", "/invitations"),
        ("DELETE", "/invitations/1"),
        ("GET", "/session"),
    ],
)
def test_what_is_not_there_is_not_found(standing_client: TestClient, method: str, path: str) -> None:
    response = standing_client.request(method, f"/v1/studies/none{path}", json={} if method == "POST" else None)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "study_not_found")


@pytest.mark.parametrize("path", ["items?limit=0", "items?after=-1", f"items?after={2**63}", "items?limit=x"])
def test_bad_queries_are_refused_by_name(standing_client: TestClient, path: str) -> None:
    Owner(standing_client, "queries").create()
    response = standing_client.get(f"/v1/studies/queries/{path}")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == path.partition("?")[2].partition("=")[0]
