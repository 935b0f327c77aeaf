"""A rater's forms without a browser, on both databases; and the owner's."""

import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from tests.app.people import HUMAN, OTHER, Owner

PAGE = {"Accept": "text/html"}


def lease_of(html: str) -> str:
    return re.findall(r'name="lease" value="([^"]+)"', html)[0]


def enter(client: TestClient, owner: Owner) -> str:
    """Follow a link as a browser does, agree, and return the page with the first item."""
    page = client.get(f"/rate/join/{owner.invite()}", headers=PAGE)
    assert page.url.path == f"/rate/{owner.slug}"
    agreed = client.post(f"/rate/{owner.slug}/consent", data={"version": "1"}, headers=PAGE)
    assert agreed.history[0].status_code == 303
    return agreed.text


def test_a_program_still_gets_json_from_a_link(any_client: TestClient) -> None:
    owner = Owner(any_client).running()
    joined = any_client.get(f"/rate/join/{owner.invite()}")
    assert joined.json()["object"] == "rater_session"


def test_the_standard_consent_text_is_told_in_the_raters_language(client: TestClient) -> None:
    own = Owner(client, "own").running(consent={"text": "Our own words.", "version": "2"})
    for owner, told in ((Owner(client).running(), "不保存你的设备地址"), (own, "Our own words.")):
        page = client.get(f"/rate/join/{owner.invite()}", headers={**PAGE, "Accept-Language": "zh"})
        assert told in page.text


def test_join_judge_skip_flag(any_client: TestClient, rows: Callable) -> None:
    owner = Owner(any_client).running("scale", n=3)
    lease = lease_of(enter(any_client, owner))
    page = any_client.post("/rate/s/judge", data={"lease": lease, "score-sensible": "3"}, headers=PAGE)
    assert "nothing was stored" in page.text
    assert rows(any_client, "judgement") == []
    names = ("sensible", "specific", "interesting", "consistent", "fluent", "human_like")
    scores = {f"score-{name}": "4" for name in names}
    form = {"lease": lease, **scores, "dwell_ms": "", "comment": "fine"}
    for _ in range(2):
        page = any_client.post("/rate/s/judge", data=form, headers=PAGE)
        assert page.url.params["after"] == lease
    assert [row["value"] for row in rows(any_client, "judgement")] == [4] * 6
    second = lease_of(page.text)
    flagged = {"lease": second, "flag": "offensive", "comment": "<b>"}
    assert "Reported" in any_client.post("/rate/s/flag", data=flagged, headers=PAGE).text
    skipped = any_client.post("/rate/s/skip", data={"lease": second, "reason": "other"}, headers=PAGE)
    assert "Skipped" in skipped.text
    late = any_client.post("/rate/s/judge", data={**form, "lease": second}, headers=PAGE)
    assert "skipped that item already" in late.text
    assert sorted(row["state"] for row in rows(any_client, "assignment")) == ["done", "leased", "skipped"]


def test_a_break_is_offered(any_client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.pages.rating.routes.BREAK_EVERY", 2)
    owner = Owner(any_client).running(n=4)
    page = enter(any_client, owner)
    for number in (1, 2):
        response = any_client.post("/rate/s/judge", data={"lease": lease_of(page), "choice": "tie"}, headers=PAGE)
        page = response.text
        assert ("short break" in page) == (number == 2)


@pytest.mark.parametrize(
    ("path", "data", "status"),
    [
        ("/rate/s/judge", {"lease": "none", "choice": "left"}, 200),
        ("/rate/s/judge", {"lease": "x", "choice": "up"}, 400),
        ("/rate/s/judge", {}, 400),
        ("/rate/s/judge", {"lease": "x", "score-a": "9"}, 400),
        ("/rate/s/judge", {"lease": "x", "choice": "left", "dwell_ms": "-1"}, 400),
        ("/rate/s/skip", {"lease": "none", "reason": "bored"}, 400),
        ("/rate/none/judge", {"lease": "x", "choice": "left"}, 404),
        ("/rate/none", None, 404),
    ],
)
def test_bad_forms_are_said(client: TestClient, path: str, data: dict[str, str] | None, status: int) -> None:
    enter(client, Owner(client).running())
    page = client.get(path, headers=PAGE) if data is None else client.post(path, data=data, headers=PAGE)
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")


def test_without_a_session_one_is_told_to_open_the_link(client: TestClient) -> None:
    Owner(client).running()
    page = client.get("/rate/s", headers=PAGE)
    assert page.status_code == 401
    assert "invitation link" in page.text
    assert client.post("/rate/s/judge", data={"lease": "x", "choice": "left"}, headers=PAGE).status_code == 401


def test_the_owners_forms(any_client: TestClient, rows: Callable) -> None:
    draft = {
        "title": "My Study!",
        "kind": "pair",
        "systems": ["model:fake", "best:fake"],
        "contexts": "a | b | c\n\nd",
        "k": "1",
        "gold": "",
    }
    page = any_client.post("/studies", data=draft, headers=PAGE)
    assert page.url.path == "/studies/my-study"
    assert len(rows(any_client, "item")) == 2
    again = any_client.post("/studies", data=draft, headers=PAGE)
    assert again.status_code == 409  # another study of that name
    assert "My Study!" in again.text
    for _ in range(2):
        assert any_client.post("/studies/my-study/start", data={"x": ""}, headers=PAGE).status_code == 200
    assert any_client.post("/studies/my-study/delete", data={"x": ""}, headers=PAGE).status_code == 409
    [item, _] = rows(any_client, "item")
    any_client.post(f"/studies/my-study/items/{item['id']}/withdraw", data={"x": ""}, headers=PAGE)
    assert sorted(str(row["status"]) for row in rows(any_client, "item")) == ["open", "withdrawn"]
    for _ in range(2):
        any_client.post("/studies/my-study/close", data={"x": ""}, headers=PAGE)
    closed = any_client.post("/studies/my-study/invite", data={"max_raters": "1", "days": "1"}, headers=PAGE)
    assert closed.status_code == 409
    assert rows(any_client, "invitation") == []


def test_an_owners_form_that_is_sent_twice_does_its_work_once(any_client: TestClient, rows: Callable) -> None:
    form = any_client.get("/studies", headers=PAGE).text
    [seed] = re.findall(r'name="seed" value="(\d+)"', form)
    draft = {"title": "三", "systems": ["model:fake", "best:fake"], "contexts": "hello", "seed": seed}
    first, second = (any_client.post("/studies", data=draft, headers=PAGE) for _ in range(2))
    assert (first.url, second.status_code) == (second.url, 200)
    assert re.fullmatch(r"/studies/study-\d{6}", first.url.path)
    assert len(rows(any_client, "study")) == len(rows(any_client, "item")) == 1
    [token] = re.findall(r'name="token" value="([^"]+)"', first.text)
    link = {"label": "a", "max_raters": "2", "days": "1", "token": token}
    told = [any_client.post(f"{first.url.path}/invite", data=link, headers=PAGE).text for _ in range(2)]
    assert all(f"/rate/join/{token}" in one for one in told)
    assert len(rows(any_client, "invitation")) == 1
    other = any_client.post(f"{first.url.path}/invite", data={**link, "label": "b"}, headers=PAGE).text
    assert f"/rate/join/{token}" not in other  # another link than the one that this token has made
    assert len(rows(any_client, "invitation")) == 2
    assert any_client.post(f"{first.url.path}/invite", data={**link, "token": "x"}, headers=PAGE).status_code == 400


def test_a_file_that_is_sent_twice_begins_one_batch(client: TestClient, rows: Callable) -> None:
    [action] = re.findall(r'action="(/batches\?once=\w+)"', client.get("/batches", headers=PAGE).text)
    for name, count in (("a.jsonl", 1), ("a.jsonl", 1), ("b.jsonl", 2)):
        sent = client.post(action, files={"file": (name, b"{}")}, data={"purpose": "batch"}, headers=PAGE)
        assert sent.status_code == 200
        assert (
            len(rows(client, "batch"))
            == len([one for one in rows(client, "stored_file") if one["filename"][0] in "ab"])
            == count
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"title": ""}, "slug"),
        ({"slug": "Not A Slug"}, "slug"),
        ({"systems": []}, "systems"),
        ({"systems": ["model:none", "human"]}, "none"),
        ({"systems": ["file:///etc"]}, "file:///etc"),
        ({"contexts": ""}, "contexts"),
        ({"contexts": "{"}, "line 1"),
        ({"contexts": '{"turns": [1]}'}, "line 1"),
        ({"contexts": "|"}, "turns"),
        ({"k": "0"}, "k"),
        ({"contexts": "a\x00b"}, "U+0000"),
    ],
)
def test_a_draft_that_is_wrong_leaves_nothing(
    client: TestClient, rows: Callable, change: dict[str, object], said: str
) -> None:
    draft = {"title": "t", "systems": ["model:fake", "best:fake"], "contexts": "hello", **change}
    page = client.post("/studies", data=draft, headers=PAGE)
    assert page.status_code in (400, 404)
    assert said in page.text
    assert rows(client, "study") == rows(client, "item") == []


def test_results_on_the_board_need_no_owner_of_their_own(any_client: TestClient) -> None:
    owner = Owner(any_client).running(systems=[HUMAN, OTHER], n=4)
    owner.rater().finish()
    page = any_client.get("/board?study=s", headers=PAGE)
    assert page.status_code == 200
    assert "4 judgements" in page.text or "left out" in page.text
