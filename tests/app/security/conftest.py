"""A service that others can reach, on each kind of database."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from app.settings import Settings
from tests.app.fakes import FakeBot, app_of
from tests.app.owners import PUBLIC
from tests.postgres import new_database

UNCOUNTED = {"limit_keys": "off", "limit_anonymous": "off", "limit_raters": "off"}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Give a client of a service that asks for keys and counts nothing; the tests of one file share it."""
    url = new_database(request.getfixturevalue("postgres")) if request.param == "postgres" else None
    settings = Settings(state=tmp_path_factory.mktemp("guarded"), database_url=url, **PUBLIC, **UNCOUNTED)
    with TestClient(app_of(settings, FakeBot()), follow_redirects=False) as client:
        yield client
