"""One rater's assignments are nobody else's: not another rater's of the study, not one's of another study."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.raters.routes import cookie_name
from tests.app.people import Owner, RaterClient


@pytest.fixture
def raters(any_client: TestClient) -> tuple[RaterClient, RaterClient, RaterClient]:
    """Give two raters of one study, and one of another."""
    owner = Owner(any_client, "s").running(n=6, k=1)
    other = Owner(any_client, "t").running(n=6, k=1)
    return owner.rater(), owner.rater(), other.rater()


def state(rows: Callable[..., list[dict[str, object]]], client: TestClient) -> tuple[Any, Any]:
    return rows(client, "assignment"), rows(client, "judgement")


def test_anothers_lease_opens_nothing(
    any_client: TestClient, raters: tuple[RaterClient, RaterClient, RaterClient], rows: Callable
) -> None:
    own, stranger, foreigner = raters
    lease = own.task()["lease"]
    stranger.task()
    before = state(rows, any_client)
    bodies: dict[str, dict[str, object]] = {
        "judgements": {"lease": lease, "choice": "left"},
        "skip": {"lease": lease, "reason": "cannot_decide"},
        "flag": {"lease": lease, "flag": "offensive"},
    }
    for path, body in bodies.items():
        for rater, statuses in ((stranger, {404}), (foreigner, {404})):
            response = rater.post(path, body)
            assert response.status_code in statuses, (path, response.text)
            assert "replies" not in response.json()
        # Through the pages too: the cookie of another study under this one's name.
        there = {"Cookie": f"{cookie_name('s')}={foreigner.token}"}
        assert any_client.post(f"/v1/studies/s/{path}", json=body, headers=there).status_code == 403
        assert any_client.post(f"/v1/studies/s/{path}", json=body).status_code == 401
    assert state(rows, any_client) == before
    assert own.judge(own.task()).status_code == 201  # and the owner's lease still stands


def test_a_session_says_nothing_of_another(
    any_client: TestClient, raters: tuple[RaterClient, RaterClient, RaterClient]
) -> None:
    own, stranger, foreigner = raters
    assert own.next()["task"]["lease"] != stranger.next()["task"]["lease"]
    assert own.get("session").json()["rater"] == own.public_id
    for path in ("next", "session"):
        response = any_client.get(f"/v1/studies/s/{path}", headers=foreigner.headers)
        assert (response.status_code, response.json()["error"]["code"]) == (403, "other_study")
    page = any_client.get(f"/rate/s?after={own.task()['lease']}", headers=stranger.headers)
    assert page.status_code == 200
    assert own.task()["lease"] not in page.text.replace(f"after={own.task()['lease']}", "")


def test_what_is_judged_stands(
    any_client: TestClient, raters: tuple[RaterClient, RaterClient, RaterClient], rows: Callable
) -> None:
    own, stranger, _ = raters
    task = own.task()
    assert own.judge(task, "left").status_code == 201
    before = rows(any_client, "judgement")
    assert stranger.judge(task, "right").status_code == 404
    assert rows(any_client, "judgement") == before
