"""A real service on a free port, and a real browser."""

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import uvicorn

from app.settings import Settings
from tests.app.fakes import FakeBot, app_of

SCREENSHOTS = Path(__file__).parents[2] / "screenshots"


class Service:
    """The service in a thread of its own, as users reach it: over a socket."""

    def __init__(self, state: Path, *bots: FakeBot) -> None:
        self._settings = Settings(state=state)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        app = app_of(self._settings, *bots)
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Read the database behind the service's back."""
        engine = sa.create_engine(self._settings.database)
        with engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(sa.text(query))]
        engine.dispose()
        return found

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        self._socket.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Give a function that starts a service with these bots."""
    running: list[Service] = []

    def serve(*bots: FakeBot) -> Service:
        running.append(Service(tmp_path, *bots))
        return running[-1]

    yield serve
    for service in running:
        service.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Give Debian's Chromium, driven by Playwright; ended with its module, for while Playwright runs it keeps
    an event loop in this thread, in which others cannot begin one of their own.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def screenshots() -> Path:
    """Give the folder for pictures that a person looks at; git ignores it."""
    SCREENSHOTS.mkdir(exist_ok=True)
    return SCREENSHOTS
