"""Every route against every kind of key, taken from the table of rules and not written down by hand."""

import re

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from app.access.rules import RULES, Rule
from app.keys.schemas import SCOPES
from tests.app.owners import bearer, expired_key, key_headers, new_key, revoked_key

KEYED = {name: rule for name, rule in RULES.items() if rule.needs_key}
KEYLESS = {name: rule for name, rule in RULES.items() if not rule.needs_key}
PAGE = {"Accept": "text/html,application/xhtml+xml"}


def ask(client: TestClient, name: str, headers: dict[str, str] | None = None) -> Response:
    method, template = name.split()
    path = template.replace("{item_id}", "1").replace("{invitation_id}", "1").replace("{path:path}", "layout.css")
    return client.request(method, re.sub(r"\{\w+\}", "nothing", path), headers=headers)


def code(response: Response) -> tuple[int, str | None]:
    return response.status_code, response.json()["error"]["code"]


def assert_unknown(response: Response) -> None:
    assert code(response) == (401, "invalid_api_key")
    assert response.headers["www-authenticate"] == "Bearer"
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert response.headers["x-content-type-options"] == "nosniff"


def test_there_are_many_of_both() -> None:
    assert len(KEYED) > 50
    assert len(KEYLESS) > 15


@pytest.mark.parametrize("name", KEYED)
def test_without_a_key(guarded: TestClient, name: str) -> None:
    assert_unknown(ask(guarded, name))
    for header in ("", "Bearer", "Bearer ", "Basic Og==", "Token x"):
        assert_unknown(ask(guarded, name, {"Authorization": header}))


@pytest.fixture(scope="module")
def refused(guarded: TestClient) -> dict[str, str]:
    """Give secrets that do not work, of keys that may do everything."""
    good = new_key(guarded, *SCOPES)
    return {
        "unknown": "rj-" + "x" * 43,
        "cut off": good.secret[:-1],
        "revoked": revoked_key(guarded, *SCOPES),
        "expired": expired_key(guarded, *SCOPES),
        "hash": "0" * 64,
        "long": "x" * 5000,
    }


@pytest.mark.parametrize("name", KEYED)
def test_with_a_key_that_does_not_work(guarded: TestClient, refused: dict[str, str], name: str) -> None:
    for secret in refused.values():
        assert_unknown(ask(guarded, name, bearer(secret)))


@pytest.fixture(scope="module")
def headers(guarded: TestClient) -> dict[str, dict[str, str]]:
    """Give what the holders of a key for each scope send."""
    return {scope: key_headers(guarded, scope) for scope in SCOPES}


@pytest.mark.parametrize(("name", "rule"), KEYED.items(), ids=KEYED)
def test_scopes(guarded: TestClient, headers: dict[str, dict[str, str]], name: str, rule: Rule) -> None:
    for scope in SCOPES:
        response = ask(guarded, name, headers[scope])
        if scope in rule.scopes or scope == "admin":
            assert response.status_code not in (401, 403), (scope, response.text)
            assert response.status_code < 500
        else:
            assert code(response) == (403, "insufficient_scope")


@pytest.mark.parametrize("name", KEYLESS)
def test_what_needs_no_key_gets_by_without(guarded: TestClient, name: str) -> None:
    response = ask(guarded, name)
    assert response.status_code < 500
    if response.status_code in (401, 403):
        assert response.json()["error"]["code"] == "no_session"


@pytest.mark.parametrize("name", [name for name in KEYED if not name.split()[1].startswith("/v1/")])
def test_a_person_is_led_to_the_sign_in(guarded: TestClient, name: str) -> None:
    response = ask(guarded, name, PAGE)
    assert response.status_code == 303
    assert re.fullmatch(r"/sign-in(\?next=%2F[a-z%2F-]+)?", response.headers["location"])
    forbidden = ask(guarded, name, PAGE | key_headers(guarded, "rate"))
    if "rate" not in KEYED[name].scopes:
        assert forbidden.status_code == 403
        assert forbidden.headers["content-type"].startswith("text/html")
