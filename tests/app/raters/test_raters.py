"""Invitations, sessions, consent, and being forgotten."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from app.database import Database, now
from app.raters.tables import Invitation
from tests.app.people import HUMAN, OTHER, Owner, RaterClient


def test_a_link_is_told_once_and_stored_by_its_hash(any_client: TestClient, rows: Callable) -> None:
    owner = Owner(any_client)
    owner.create()
    made = owner.post("invitations", {"label": "team A", "max_raters": 3}).json()
    assert made["path"] == f"/rate/join/{made['token']}"
    [listed] = any_client.get("/v1/studies/s/invitations").json()["data"]
    assert "token" not in listed
    assert (listed["label"], listed["max_raters"], listed["raters"], listed["revoked"]) == ("team A", 3, 0, None)
    assert made["token"] not in str(rows(any_client, "invitation"))


def test_joining_begins_a_session_whose_token_is_not_stored(any_client: TestClient, rows: Callable) -> None:
    owner = Owner(any_client).running()
    rater = owner.rater(external_ref="P-17")
    session = rater.get("session").json()
    assert (session["rater"], session["consented"], session["remaining"], session["judged"]) == (
        rater.public_id,
        True,
        6,
        0,
    )
    assert "P-17" not in str(session)
    [row] = rows(any_client, "rater")
    assert rater.token not in str(row)
    assert (row["external_ref"], row["kind"], row["consent_version"]) == ("P-17", "invited", "1")
    assert owner.rater(simulated=True)
    assert [one["kind"] for one in rows(any_client, "rater")] == ["invited", "simulated"]


def test_a_browser_follows_the_link_and_keeps_its_session(any_client: TestClient, rows: Callable) -> None:
    owner = Owner(any_client).running()
    token = owner.invite()
    first = any_client.get(f"/rate/join/{token}?ref=P-1", follow_redirects=False)
    assert (first.status_code, first.headers["location"]) == (303, "/v1/studies/s/session")
    cookie = first.headers["set-cookie"]
    assert cookie.startswith("rejoinder-rater-s=")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie  # the test speaks plain HTTP
    assert any_client.get("/v1/studies/s/session").json()["consented"] is False
    again = any_client.get(f"/rate/join/{token}?ref=P-1", follow_redirects=False)
    assert again.status_code == 303
    assert len(rows(any_client, "rater")) == 1
    assert any_client.post("/v1/studies/s/consent", json={"version": "1"}).status_code == 200
    assert any_client.get("/v1/studies/s/next").json()["task"] is not None
    any_client.cookies.clear()
    assert any_client.get("/v1/studies/s/next").status_code == 401


def test_whoever_comes_again_by_the_same_reference_is_the_same_rater(any_client: TestClient, rows: Callable) -> None:
    owner = Owner(any_client).running()
    token = owner.invite()
    first, second = owner.rater(token, external_ref="P-1"), owner.rater(token, external_ref="P-1")
    assert first.public_id == second.public_id
    assert first.get("session").status_code == 401  # the lost session is ended by the new one
    joined: list[str] = []
    body = {"token": token, "external_ref": "P-2"}
    workers = [
        threading.Thread(target=lambda: joined.append(any_client.post("/v1/raters/join", json=body).json()["rater"]))
        for _ in range(6)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (len(joined), len(set(joined))) == (6, 1)
    assert len(rows(any_client, "rater")) == 2


def test_an_invitation_is_full_when_so_many_have_agreed(any_client: TestClient) -> None:
    owner = Owner(any_client).running()
    token = owner.invite(max_raters=2)
    joined = [any_client.post("/v1/raters/join", json={"token": token}).json() for _ in range(5)]
    statuses: list[int] = []

    def agree(session: dict[str, str]) -> None:
        rater = RaterClient(any_client, "s", session["session_token"], session["rater"])
        statuses.append(rater.post("consent", {"version": "1"}).status_code)

    workers = [threading.Thread(target=agree, args=(session,)) for session in joined]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(statuses) == [200, 200, 409, 409, 409]
    assert [one["raters"] for one in any_client.get("/v1/studies/s/invitations").json()["data"]] == [2]


def test_a_crowd_can_join_at_once(any_client: TestClient) -> None:
    """More than there are threads: if those who wait held threads, the one who writes would get none to go on in."""
    token = Owner(any_client).running().invite()
    statuses: list[int] = []
    body = {"token": token}
    workers = [
        threading.Thread(target=lambda: statuses.append(any_client.post("/v1/raters/join", json=body).status_code))
        for _ in range(100)
    ]
    started = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert statuses == [201] * 100
    assert time.monotonic() - started < 20


def test_a_dead_link_says_why(any_client: TestClient) -> None:
    owner = Owner(any_client).running()
    revoked, expired = owner.invite(), owner.invite()
    inside = owner.rater(revoked)
    ids = [one["id"] for one in any_client.get("/v1/studies/s/invitations").json()["data"]]
    withdrawn = any_client.delete(f"/v1/studies/s/invitations/{ids[0]}")
    assert withdrawn.json()["revoked"] is not None
    assert any_client.delete(f"/v1/studies/s/invitations/{ids[0]}").json() == withdrawn.json()
    assert any_client.delete("/v1/studies/s/invitations/99").status_code == 404
    with any_client.app.state.database.writing() as session:  # type: ignore[attr-defined]
        session.execute(
            sa.update(Invitation).where(Invitation.id == ids[1]).values(expires_at=now() - timedelta(seconds=1))
        )
    for token, status, code in (
        (revoked, 403, "invitation_revoked"),
        (expired, 403, "invitation_expired"),
        ("nonsense", 404, "invitation_not_found"),
    ):
        response = any_client.post("/v1/raters/join", json={"token": token})
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)
        assert any_client.get(f"/rate/join/{token}", follow_redirects=False).status_code == status
    assert inside.get("next").status_code == 200  # who is in stays in


def test_an_erased_rater_leaves_numbers_and_nothing_else(any_client: TestClient, rows: Callable) -> None:
    owner = Owner(any_client).running(n=3, k=2)
    token = owner.invite(max_raters=1, label="Zacharias")
    rater = owner.rater(token, external_ref="zacharias@example.org")
    first = rater.task()
    rater.post("flag", {"lease": first["lease"], "flag": "other", "comment": "my friend Zacharias wrote this"})
    rater.judge(first, "right", comment="Zacharias was here")
    rater.task()
    before = rows(any_client, "judgement")
    erased = any_client.delete(f"/v1/raters/{rater.public_id}")
    assert (erased.status_code, erased.json()["judgements_kept"]) == (200, 1)
    assert any_client.delete(f"/v1/raters/{rater.public_id}").json() == erased.json()
    [after] = rows(any_client, "judgement")
    assert after == {**before[0], "comment": None}
    assert sorted(row["state"] for row in rows(any_client, "assignment")) == ["done", "expired"]
    assert rater.get("next").status_code == 401
    assert owner.items()[0]["done"] + owner.items()[1]["done"] + owner.items()[2]["done"] == 1
    everything = "".join(
        str(rows(any_client, table)) for table in ("rater", "judgement", "assignment", "invitation", "audit_event")
    )
    assert "acharias" not in everything
    assert any_client.delete("/v1/raters/rater-unknown").status_code == 404


def test_nothing_of_an_erased_rater_is_left_in_the_file(client: TestClient, tmp_path: Path) -> None:
    """Neither in the database nor in its log: the unused parts of their pages included."""
    owner = Owner(client).running(n=3)
    others = [owner.rater(external_ref=f"other{i}@example.org") for i in range(3)]
    rater = owner.rater(external_ref="zacharias@example.org")
    rater.judge(rater.task(), comment="Zacharias was here, " * 100)  # longer than a page
    for other in others:
        other.judge(other.task(), comment="somebody else")

    def stored() -> bytes:
        return b"".join(file.read_bytes() for file in sorted(tmp_path.glob("rejoinder.db*")))

    assert b"zacharias@example.org" in stored()
    assert b"Zacharias was here" in stored()
    assert client.delete(f"/v1/raters/{rater.public_id}").status_code == 200
    assert b"acharias" not in stored()
    assert b"other1@example.org" in stored()


def test_no_address_is_stored(any_client: TestClient) -> None:
    database: Database = any_client.app.state.database  # type: ignore[attr-defined]
    names = {
        column["name"]
        for table in sa.inspect(database.engine).get_table_names()
        for column in sa.inspect(database.engine).get_columns(table)
    }
    assert not [name for name in names if name in ("ip", "address", "host", "user_agent", "email", "name_of_rater")]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("studies/s/invitations", {"max_raters": 0}, "max_raters"),
        ("studies/s/invitations", {"max_raters": "1"}, "max_raters"),
        ("studies/s/invitations", {"expires_in_days": 0}, "expires_in_days"),
        ("studies/s/invitations", {"expires_in_days": 1e9}, "expires_in_days"),
        ("studies/s/invitations", {"label": "x" * 256}, "label"),
        ("studies/s/invitations", {"label": "\x00"}, "label"),
        ("studies/s/invitations", {"email": "x"}, "email"),
        ("raters/join", {}, "token"),
        ("raters/join", {"token": ""}, "token"),
        ("raters/join", {"token": "x" * 129}, "token"),
        ("raters/join", {"token": "x", "external_ref": ""}, "external_ref"),
        ("raters/join", {"token": "x", "external_ref": "x" * 256}, "external_ref"),
        ("raters/join", {"token": "x", "simulated": 1}, "simulated"),
    ],
)
def test_bad_input_is_refused_by_name(
    standing_client: TestClient, path: str, body: dict[str, object], param: str
) -> None:
    owner = Owner(standing_client)
    owner.create()
    owner.add([HUMAN, OTHER])
    response = standing_client.post(f"/v1/{path}", json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param), response.text


@pytest.mark.parametrize(
    ("method", "path", "param"),
    [
        ("DELETE", "/v1/studies/s/invitations/0", "invitation_id"),
        ("DELETE", "/v1/studies/s/invitations/x", "invitation_id"),
        ("DELETE", f"/v1/studies/s/invitations/{2**63}", "invitation_id"),
        ("DELETE", f"/v1/raters/{'x' * 49}", "public_id"),
        ("DELETE", "/v1/raters/%00", "public_id"),
        ("GET", f"/rate/join/{'x' * 129}", "token"),
        ("GET", "/rate/join/x?ref=", "ref"),
        ("GET", f"/v1/studies/{'x' * 65}/session", "slug"),
        ("GET", "/v1/studies/%00/next", "slug"),
    ],
)
def test_bad_paths_are_refused_by_name(standing_client: TestClient, method: str, path: str, param: str) -> None:
    response = standing_client.request(method, path)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param), response.text
