"""The table of rules names every route, and means by a path what the router means by it."""

import re
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from app.access.rules import ADMIN, OPEN, RULES, TALK, rule_for, template_for
from app.main import create_app
from app.settings import Settings
from tests.app.fakes import FakeBot
from tests.app.owners import PUBLIC, key_headers


def routes(app: FastAPI) -> set[str]:
    found = {"GET /static/{path:path}"}
    for route in iter_route_contexts(app.routes):
        methods: set[str] = getattr(route, "methods", None) or set()
        found |= {f"{method} {route.path}" for method in methods - {"HEAD"}}
    return found - {"GET /static"}


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(Settings())


def test_every_route_is_named_and_no_other(app: FastAPI) -> None:
    there = routes(app)
    assert len(there) > 70
    assert there - RULES.keys() == set()
    assert RULES.keys() - there == set()


def test_the_described_interface_is_among_them(app: FastAPI) -> None:
    described = {f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods}
    assert len(described) > 35
    assert described <= RULES.keys()


@pytest.mark.parametrize("name", RULES)
def test_a_path_means_the_route_that_it_was_made_for(name: str) -> None:
    method, template = name.split()
    path = re.sub(r"\{\w+(:path)?\}", "some-thing", template)
    assert rule_for(method, path) is RULES[name]
    assert template_for(method, path) == template
    assert rule_for("PATCH", path) is None


def test_head_is_get_and_unknown_paths_have_no_rule() -> None:
    assert rule_for("HEAD", "/health/live") is OPEN
    assert rule_for("HEAD", "/v1/studies") is ADMIN
    assert rule_for("GET", "/v1/models/a") is TALK
    for path in ("", "//", "/v1", "/v1/", "/v1/models/", "/v1/models/a/b", "/V1/models", "/v1/models/a\n/b", "/admin"):
        assert rule_for("GET", path) is None, path
        assert template_for("GET", path) is None, path


def test_a_route_that_nobody_named_is_shut(start: Callable[..., TestClient]) -> None:
    client = start(FakeBot(), **PUBLIC)
    app: FastAPI = client.app  # type: ignore[assignment]
    app.add_api_route("/forgotten", lambda: "secret")
    assert client.get("/forgotten").status_code == 401
    refused = client.get("/forgotten", headers=key_headers(client, "chat", "rate"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "not_found")
    assert client.get("/forgotten", headers=key_headers(client, "admin")).json() == "secret"
