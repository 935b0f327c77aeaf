"""A rater's work: the next item, the verdict, skip and flag; blind, once, and only their own."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from app.database import now
from app.ratings.tables import Judgement
from app.studies.tables import Assignment
from tests.app.people import FAKE, HUMAN, OTHER, Owner, RaterClient


def expire(client: TestClient, *raters: RaterClient) -> None:
    """Let every open lease have run out a second ago."""
    with client.app.state.database.writing() as session:  # type: ignore[attr-defined]
        session.execute(sa.update(Assignment).filter_by(state="leased").values(expires_at=now() - timedelta(seconds=1)))


def test_a_pair_is_judged_and_stored_by_reply_not_by_side(any_client: TestClient, rows: Callable) -> None:
    owner = Owner(any_client).running(n=12, k=1)
    rater = owner.rater()
    sides = set()
    by_text = {one[letter]["text"]: letter for one in owner.items() for letter in "ab"}
    for _ in range(12):
        task = rater.task()
        assert [one["side"] for one in task["replies"]] == ["left", "right"]
        left = by_text[task["replies"][0]["text"]]
        stored = rater.judge(task, "left", dwell_ms=0, comment="好").json()
        [judgement] = [row for row in rows(any_client, "judgement") if row["id"] == stored["judgement_ids"][0]]
        assert (judgement["choice"], judgement["side"]) == (left, "left" if left == "a" else "right")
        assert (judgement["kind"], judgement["dimension"], judgement["value"]) == ("pair", "", None)
        assert (bool(judgement["blind"]), judgement["dwell_ms"], judgement["comment"]) == (True, 0, "好")
        sides.add(left)
    assert sides == {"a", "b"}  # drawn anew for each: 12 alike by chance are one in 2048
    assert rater.next() == {"object": "next", "task": None, "reason": "done", "retry_after": None, "judged": 12}
    assert owner.progress()["complete"]


def test_next_gives_the_same_item_until_it_is_judged_and_names_no_system(any_client: TestClient) -> None:
    owner = Owner(any_client).running(systems=[FAKE, HUMAN], reveal=True)
    rater = owner.rater()
    first = rater.get("next")
    assert first.headers["cache-control"] == "no-store"
    again = rater.get("next")
    assert first.json()["task"] == again.json()["task"]
    for secret in ("fake", 'human"', "reply-", "f" * 64, "system"):
        assert secret not in first.text
    judged = rater.judge(first.json()["task"], "tie").json()
    assert {one["system"] for one in judged["reveal"]} == {"fake", "human"}
    assert [one["side"] for one in judged["reveal"]] == ["left", "right"]
    shown = {one["text"]: one["side"] for one in first.json()["task"]["replies"]}
    truth = {one[letter]["text"]: one[letter]["system"] for one in owner.items() for letter in "ab"}
    assert {truth[text]: side for text, side in shown.items()} == {
        one["system"]: one["side"] for one in judged["reveal"]
    }
    assert rater.task()["lease"] != first.json()["task"]["lease"]


def test_a_repeated_verdict_counts_once_and_another_one_supersedes_it(any_client: TestClient, rows: Callable) -> None:
    rater = Owner(any_client).running().rater()
    task = rater.task()
    first = rater.judge(task, "left", dwell_ms=5)
    again = rater.judge(task, "left", dwell_ms=9)
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert len(rows(any_client, "judgement")) == 1
    changed = rater.judge(task, "both_bad").json()
    [old, new] = sorted(rows(any_client, "judgement"), key=lambda row: row["id"])
    assert (new["supersedes"], new["choice"]) == (old["id"], "both_bad")
    assert changed["judged"] == 1
    assert max(one["done"] for one in Owner(any_client).items()) == 1


def test_nothing_changes_after_the_reveal(any_client: TestClient, rows: Callable) -> None:
    rater = Owner(any_client).running(reveal=True).rater()
    task = rater.task()
    first = rater.judge(task, "left")
    assert rater.judge(task, "left").json() == first.json()
    changed = rater.judge(task, "right")
    assert (changed.status_code, changed.json()["error"]["code"]) == (409, "already_revealed")
    assert len(rows(any_client, "judgement")) == 1


def test_scales_are_asked_with_their_anchors_and_all_must_be_scored(any_client: TestClient, rows: Callable) -> None:
    owner = Owner(any_client).running("scale", systems=[HUMAN, OTHER], k=2)
    rater = owner.rater()
    task = rater.task()
    assert [one["name"] for one in task["dimensions"]] == [
        "sensible",
        "specific",
        "interesting",
        "consistent",
        "fluent",
        "human_like",
    ]
    assert set(task["dimensions"][0]["anchors"]) == {"1", "3", "5"}
    assert [one["side"] for one in task["replies"]] == [None]
    scores = dict.fromkeys([one["name"] for one in task["dimensions"]], 3)
    some = rater.post("judgements", {"lease": task["lease"], "scores": {"sensible": 3}})
    assert (some.status_code, some.json()["error"]["param"]) == (400, "scores")
    assert "human_like" in some.json()["error"]["message"]
    odd = rater.post("judgements", {"lease": task["lease"], "scores": {**scores, "pretty": 1}})
    assert odd.json()["error"]["code"] == "unknown_dimension"
    assert rater.judge(task).json()["error"]["param"] == "choice"
    done = rater.post("judgements", {"lease": task["lease"], "scores": scores, "comment": "so so"})
    assert done.status_code == 201
    stored = rows(any_client, "judgement")
    assert [(row["dimension"], row["value"]) for row in stored] == list(scores.items())
    assert [row["comment"] for row in stored] == ["so so"] + [None] * 5
    better = rater.post("judgements", {"lease": task["lease"], "scores": {**scores, "fluent": 5}, "comment": "so so"})
    assert better.status_code == 201
    assert len(rows(any_client, "judgement")) == 12


def test_human_or_machine_is_half_human(any_client: TestClient) -> None:
    owner = Owner(any_client).running("turing", systems=[HUMAN, OTHER, FAKE], n=12, k=1)
    kinds = [one["a"]["kind"] for one in owner.items()]
    assert (kinds.count("human"), kinds.count("baseline"), kinds.count("checkpoint")) == (6, 3, 3)
    rater = owner.rater()
    task = rater.task()
    assert task["choices"] == ["human", "machine"]
    assert rater.judge(task, "left").status_code == 400
    assert rater.judge(task, "machine").status_code == 201


def test_k_raters_and_no_more(any_client: TestClient) -> None:
    owner = Owner(any_client).running(n=4, k=2)
    done = [len(owner.rater().finish()) for _ in range(3)]
    assert done == [4, 4, 0]
    assert {(one["done"], one["status"]) for one in owner.items()} == {(2, "done")}


def test_items_with_most_done_come_first(any_client: TestClient) -> None:
    owner = Owner(any_client).running(n=8, k=3)
    first = owner.rater()
    task = first.task()
    first.judge(task)
    for _ in range(2):
        rater = owner.rater()
        assert rater.task()["messages"] == task["messages"]


def test_a_held_item_has_room_for_k_only_and_comes_free_when_its_lease_runs_out(any_client: TestClient) -> None:
    owner = Owner(any_client).running(n=1, k=1)
    holder, other = owner.rater(), owner.rater()
    task = holder.task()
    assert other.next() == {"object": "next", "task": None, "reason": "wait", "retry_after": 30, "judged": 0}
    expire(any_client)
    given = other.task()
    assert given["messages"] == task["messages"]
    late = holder.judge(task)
    assert (late.status_code, late.json()["error"]["code"]) == (409, "lease_expired")
    assert other.judge(given).status_code == 201
    assert owner.items()[0]["done"] == 1
    assert holder.next()["reason"] == "done"


def test_a_late_verdict_counts_while_nobody_took_the_place(any_client: TestClient) -> None:
    owner = Owner(any_client).running(n=1, k=1)
    rater = owner.rater()
    task = rater.task()
    expire(any_client)
    assert rater.judge(task).status_code == 201
    assert owner.progress()["complete"]


def test_an_expired_lease_is_taken_up_again_by_the_same_rater(any_client: TestClient, rows: Callable) -> None:
    owner = Owner(any_client).running(n=1, k=1)
    rater = owner.rater()
    first = rater.task()
    expire(any_client)
    second = rater.task()
    assert second["lease"] != first["lease"]
    assert second["messages"] == first["messages"]
    assert rater.judge(first).json()["error"]["code"] == "lease_not_found"
    assert rater.judge(second).status_code == 201
    assert len(rows(any_client, "assignment")) == 1


def test_never_the_same_context_twice(any_client: TestClient) -> None:
    owner = Owner(any_client).running(systems=[HUMAN, OTHER, FAKE], n=4, items={"count": 12}, k=1)
    tasks = owner.rater().finish()
    assert sorted(task["messages"][0]["content"] for task in tasks) == [f"question {i}?" for i in range(4)]
    assert not owner.progress()["complete"]
    assert [len(owner.rater().finish()) for _ in range(2)] == [4, 4]
    assert owner.progress()["complete"]


def test_a_skipped_item_goes_to_others_and_never_comes_back(any_client: TestClient, rows: Callable) -> None:
    owner = Owner(any_client).running(n=1, k=1)
    rater = owner.rater()
    task = rater.task()
    for _ in range(2):
        skipped = rater.post("skip", {"lease": task["lease"], "reason": "not_my_language"})
        assert (skipped.status_code, skipped.json()["reason"]) == (200, "not_my_language")
    assert rater.next()["task"] is None
    assert rater.judge(task).json()["error"]["code"] == "skipped"
    assert len(owner.rater().finish()) == 1
    assert owner.progress()["skipped"] == 1
    judged = owner.items()[0]
    assert (judged["done"], judged["status"]) == (1, "done")
    assert len(rows(any_client, "judgement")) == 1


def test_a_judged_item_cannot_be_skipped(any_client: TestClient) -> None:
    rater = Owner(any_client).running().rater()
    task = rater.task()
    rater.judge(task)
    response = rater.post("skip", {"lease": task["lease"], "reason": "other"})
    assert (response.status_code, response.json()["error"]["code"]) == (409, "already_judged")


def test_a_flag_reaches_the_owner_who_withdraws_the_item(any_client: TestClient) -> None:
    owner = Owner(any_client).running(n=1, k=2)
    rater = owner.rater()
    task = rater.task()
    assert rater.post("flag", {"lease": task["lease"], "flag": "offensive", "comment": "!"}).status_code == 200
    assert rater.judge(task, "both_bad").status_code == 201
    [item] = owner.items()
    assert item["flags"] == ["offensive"]
    assert owner.progress()["flagged"] == 1
    assert owner.post(f"items/{item['id']}/withdraw").status_code == 204
    assert owner.rater().next()["reason"] == "done"
    assert owner.post("items/99/withdraw").status_code == 404


def test_a_repeat_comes_later_with_its_sides_swapped(any_client: TestClient, rows: Callable) -> None:
    owner = Owner(any_client).running(n=10, k=1, repeat_rate=0.2)
    tasks = owner.rater().finish()
    shown: dict[str, list[tuple[int, list[str]]]] = {}
    for place, task in enumerate(tasks):
        replies = [one["text"] for one in task["replies"]]
        shown.setdefault(task["messages"][0]["content"], []).append((place, replies))
    twice = [times for times in shown.values() if len(times) == 2]
    assert (len(twice), len(tasks)) == (2, 12)  # 2 of 12 are a sixth, the nearest to 0.2 of ten and their repeats
    for (first, one), (second, other) in twice:
        assert one == other[::-1]
        assert second - first > 5 or second >= 10
    assert owner.progress()["purposes"]["repeat"]["done_items"] == 2


def test_gold_comes_at_its_rate_beside_the_ordinary_items(any_client: TestClient) -> None:
    owner = Owner(any_client).running(n=60, k=1, gold_rate=0.3, items={"automatic_gold": 20})
    gold = {one["messages"][0]["content"] for one in owner.items() if one["purpose"] == "gold"}
    tasks = owner.rater().finish()
    met = [task["messages"][0]["content"] in gold for task in tasks]
    assert met.count(False) == 40
    assert 5 <= met.count(True) <= 20  # 17 expected; 5 or fewer by chance: one in ten thousand
    assert {one["target"] for one in owner.items() if one["purpose"] == "gold"} == {None}


def test_the_daily_cap_ends_the_day(any_client: TestClient) -> None:
    owner = Owner(any_client).running(n=4, k=1, daily_cap=2)
    rater = owner.rater()
    assert len(rater.finish()) == 2
    answer = rater.next()
    assert (answer["task"], answer["reason"]) == (None, "daily_cap")
    assert 0 < answer["retry_after"] <= 86_400
    with any_client.app.state.database.writing() as session:  # type: ignore[attr-defined]
        session.execute(sa.update(Assignment).values(finished_at=now() - timedelta(days=1)))
    assert len(rater.finish()) == 2


def test_the_time_spent_is_never_believed_beyond_the_time_held(any_client: TestClient, rows: Callable) -> None:
    rater = Owner(any_client).running().rater()
    rater.judge(rater.task(), dwell_ms=3_600_000)
    rater.judge(rater.task())
    assert all(0 <= row["dwell_ms"] < 60_000 for row in rows(any_client, "judgement"))


def at_once(times: int, work: Callable[[], object]) -> None:
    workers = [threading.Thread(target=work) for _ in range(times)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def test_two_tabs_and_double_clicks_count_once(any_client: TestClient, rows: Callable) -> None:
    rater = Owner(any_client).running().rater()
    leases: list[str] = []
    at_once(8, lambda: leases.append(rater.task()["lease"]))
    assert (len(leases), len(set(leases))) == (8, 1)
    answers: list[tuple[int, list[int]]] = []

    def click() -> None:
        answer = rater.judge({"lease": leases[0]}, "left")
        answers.append((answer.status_code, answer.json()["judgement_ids"]))

    at_once(8, click)
    [judgement] = rows(any_client, "judgement")
    assert answers == [(201, [judgement["id"]])] * 8


def test_many_raters_at_once_never_exceed_k(any_client: TestClient, rows: Callable) -> None:
    """Read-then-insert gave one item 8 raters for a target of 3."""
    owner = Owner(any_client).running(n=2, k=3)
    token = owner.invite()
    raters = [owner.rater(token) for _ in range(12)]
    given: list[object] = []
    workers = [threading.Thread(target=lambda rater=rater: given.append(rater.next()["task"])) for rater in raters]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(given) == 12
    held = Counter(row["item_id"] for row in rows(any_client, "assignment"))
    assert sum(task is not None for task in given) == sum(held.values())
    assert max(held.values()) <= 3
    for rater in raters:  # who was told to wait because others locked the last item gets it now
        rater.next()
    assert Counter(row["item_id"] for row in rows(any_client, "assignment")) == dict.fromkeys(held, 3)


def test_verdicts_at_the_same_moment_are_all_counted(any_client: TestClient) -> None:
    owner = Owner(any_client).running(n=1, k=3)
    raters = [owner.rater() for _ in range(3)]
    tasks = [rater.task() for rater in raters]
    database = any_client.app.state.database  # type: ignore[attr-defined]

    def linger(_: object) -> None:  # so that each counts while the others have not committed
        time.sleep(0.3)

    sa.event.listen(database._writer, "before_commit", linger)
    statuses: list[int] = []
    pairs = zip(raters, tasks, strict=True)
    workers = [
        threading.Thread(target=lambda rater=rater, task=task: statuses.append(rater.judge(task).status_code))
        for rater, task in pairs
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    sa.event.remove(database._writer, "before_commit", linger)
    assert statuses == [201] * 3
    [item] = owner.items()
    assert (item["done"], item["status"]) == (3, "done")


def test_one_rater_cannot_touch_what_another_holds(any_client: TestClient, rows: Callable) -> None:
    owner = Owner(any_client).running()
    task, other = owner.rater().task(), owner.rater()
    for path, body in (
        ("judgements", {"choice": "left"}),
        ("skip", {"reason": "other"}),
        ("flag", {"flag": "other"}),
    ):
        response = other.post(path, {"lease": task["lease"], **body})
        assert (response.status_code, response.json()["error"]["code"]) == (404, "lease_not_found")
    assert rows(any_client, "judgement") == []
    assert [row["state"] for row in rows(any_client, "assignment")] == ["leased"]


def test_nobody_works_without_session_consent_or_a_running_study(any_client: TestClient) -> None:
    owner = Owner(any_client)
    owner.create()
    owner.add([HUMAN, OTHER])
    rater = owner.rater()
    draft = rater.get("next")
    assert (draft.status_code, draft.json()["error"]["code"]) == (409, "study_draft")
    owner.post("start")
    stranger = RaterClient(any_client, "s", "no such token", "")
    for path in ("next", "session"):
        response = stranger.get(path)
        assert (response.status_code, response.json()["error"]["code"]) == (401, "no_session")
        assert response.headers["www-authenticate"] == "Bearer"
    joined = any_client.post("/v1/raters/join", json={"token": owner.invite()}).json()
    undecided = RaterClient(any_client, "s", joined["session_token"], "")
    response = undecided.get("next")
    assert (response.status_code, response.json()["error"]["code"]) == (403, "consent_required")
    second = Owner(any_client, "second").running()
    elsewhere = RaterClient(any_client, "second", rater.token, "")
    assert elsewhere.get("next").json()["error"]["code"] == "other_study"
    assert RaterClient(any_client, "nowhere", rater.token, "").get("next").status_code == 404
    held = second.rater()
    task = held.task()
    assert second.post("close").status_code == 200
    assert held.judge(task).json()["error"]["code"] == "study_closed"
    assert held.get("next").json()["error"]["code"] == "study_closed"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("judgements", {}, "lease"),
        ("judgements", {"lease": ""}, "lease"),
        ("judgements", {"lease": "x" * 49}, "lease"),
        ("judgements", {"lease": 5}, "lease"),
        ("judgements", {"lease": "LEASE"}, "choice"),
        ("judgements", {"lease": "LEASE", "choice": "a"}, "choice"),
        ("judgements", {"lease": "LEASE", "choice": "human"}, "choice"),
        ("judgements", {"lease": "LEASE", "choice": 1}, "choice"),
        ("judgements", {"lease": "LEASE", "choice": "left", "scores": {"fluent": 1}}, "scores"),
        ("judgements", {"lease": "LEASE", "scores": {"fluent": 6}}, "scores.fluent"),
        ("judgements", {"lease": "LEASE", "scores": {"fluent": True}}, "scores.fluent"),
        ("judgements", {"lease": "LEASE", "choice": "left", "dwell_ms": -1}, "dwell_ms"),
        ("judgements", {"lease": "LEASE", "choice": "left", "dwell_ms": 1.5}, "dwell_ms"),
        ("judgements", {"lease": "LEASE", "choice": "left", "comment": "x" * 4001}, "comment"),
        ("judgements", {"lease": "LEASE", "choice": "left", "comment": "\x00"}, "comment"),
        ("judgements", {"lease": "LEASE", "choice": "left", "blind": False}, "blind"),
        ("skip", {"lease": "LEASE"}, "reason"),
        ("skip", {"lease": "LEASE", "reason": "bored"}, "reason"),
        ("flag", {"lease": "LEASE"}, "flag"),
        ("flag", {"lease": "LEASE", "flag": "x"}, "flag"),
        ("flag", {"lease": "LEASE", "flag": "other", "comment": 3}, "comment"),
        ("consent", {}, "version"),
        ("consent", {"version": "2"}, "version"),
    ],
)
def test_bad_input_is_refused_by_name(
    standing_client: TestClient, rows: Callable, path: str, body: dict[str, object], param: str
) -> None:
    owner = Owner(standing_client)
    if standing_client.get("/v1/studies/s").status_code == 404:
        owner.running(k=100)
    rater = owner.rater()
    lease = rater.task()["lease"]
    response = rater.post(path, {key: lease if value == "LEASE" else value for key, value in body.items()})
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    assert rows(standing_client, "judgement") == []
    assert {row["state"] for row in rows(standing_client, "assignment")} == {"leased"}


def test_the_table_itself_refuses_what_is_no_judgement(any_client: TestClient, rows: Callable) -> None:
    rater = Owner(any_client).running().rater()
    rater.judge(rater.task())
    [good] = rows(any_client, "judgement")
    database = any_client.app.state.database  # type: ignore[attr-defined]
    same = {"assignment_id": good["assignment_id"], "rater_id": good["rater_id"], "kind": "pair", "choice": "a"}
    for wrong in (
        {},  # a second first judgement of the same assignment
        {"supersedes": good["id"], "choice": "left"},
        {"supersedes": good["id"], "choice": None},
        {"supersedes": good["id"], "side": None},
        {"supersedes": good["id"], "rater_id": None},
        {"supersedes": good["id"], "assignment_id": None},
        {"supersedes": good["id"], "value": 3},
        {"supersedes": good["id"], "dimension": "fluent"},
        {"supersedes": good["id"], "dwell_ms": -1},
    ):
        with pytest.raises(sa.exc.IntegrityError), database.writing() as session:
            session.add(Judgement(**{**same, "side": "left", "created_at": now(), **wrong}))
    with database.writing() as session:
        session.add(Judgement(**same, side="left", created_at=now(), supersedes=good["id"]))
