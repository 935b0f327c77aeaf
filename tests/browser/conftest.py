"""A real browser before a real service: one in processes of its own on trained bundles (`real`), or one with fake bots
(`serve`) where something must be made to go wrong.
"""

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import uvicorn

from app.settings import Settings
from tests.app.fakes import FakeBot, app_of
from tests.browser.real import RealService
from tests.browser.training_run import write_run

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
SCREENSHOTS = ROOT / "screenshots"
AXE = ROOT / ".axe"
AXE_VERSION = "4.10.3"


CROSS = pytest.mark.parametrize(("language", "width"), [("en", 1280), ("en", 375), ("zh", 1280), ("zh", 375)])
"""Every page's main path: in both languages, on a desk and on a phone."""


class Service:
    """The service with fake bots, in a thread of its own, over a socket."""

    def __init__(self, state: Path, *bots: FakeBot, broken: dict[str, str] | None = None, **settings: object) -> None:
        self._settings = Settings(**{"state": state, "models": state / "none", **settings})
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        app = app_of(self._settings, *bots, broken=broken)
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="warning"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()

    @property
    def database_url(self) -> str:
        """Return where its database is."""
        return self._settings.database

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Read the database behind the service's back."""
        engine = sa.create_engine(self._settings.database)
        with engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(sa.text(query))]
        engine.dispose()
        return found

    def execute(self, statement: str) -> None:
        """Change the database behind the service's back, as time does."""
        engine = sa.create_engine(self._settings.database)
        with engine.begin() as connection:
            connection.execute(sa.text(statement))
        engine.dispose()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        self._socket.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Give a function that starts a service with these bots."""
    running: list[Service] = []

    def serve(*bots: FakeBot, **more: Any) -> Service:
        running.append(Service(tmp_path, *bots, **more))
        return running[-1]

    yield serve
    for service in running:
        service.stop()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a models' directory with both trained bundles, and beside it what a training run leaves."""
    folder = tmp_path_factory.mktemp("trained")
    for name in ("recurrent", "transformer"):
        shutil.copytree(GOLDEN / name, folder / "models" / name)
    write_run(folder / "runs" / "recurrent")
    return folder / "models"


@pytest.fixture(scope="session")
def real(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealService]:
    """Give the service in its own processes on the trained bundles; all tests share it and its database."""
    service = RealService(trained, tmp_path_factory.mktemp("real") / "state")
    service.start()
    yield service
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
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Give a function that opens a page and fails the test on any error in its console, or any foreign request."""
    contexts = []
    complaints: list[str] = []

    def visit(
        url: str,
        *,
        language: str = "en",
        width: int = 1280,
        script: bool = True,
        beside: Any = None,
        **options: Any,
    ) -> Any:
        """Open `url`, in a browser of its own or as another tab `beside` a page."""
        if beside is not None:
            context = beside.context
        else:
            context = browser.new_context(
                viewport={"width": width, "height": 812 if width < 600 else 800},
                java_script_enabled=script,
                locale={"en": "en-GB", "zh": "zh-CN"}[language],
                **options,
            )
            # Beside the console's line, so that no violation of the policy can be missed.
            context.add_init_script(
                "addEventListener('securitypolicyviolation', (event) =>"
                " console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`))"
            )
            contexts.append(context)
        context.set_default_timeout(20_000)
        page = context.new_page()
        host = "/".join(url.split("/")[:3]) + "/"
        page.on("console", lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(host) else complaints.append(request.url))
        page.goto(url)
        return page

    visit.complaints = complaints  # type: ignore[attr-defined]
    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def axe_source() -> str:
    """Give axe-core's source, installed once into a folder that git ignores; skip where it cannot be had."""
    script = AXE / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm is not installed, so there is no axe-core")
        AXE.mkdir(exist_ok=True)
        command = [
            npm,
            "install",
            "--no-save",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(AXE),
            f"axe-core@{AXE_VERSION}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode or not script.exists():
            pytest.skip(f"npm cannot install axe-core: {done.stderr.strip()[-200:]}")
    return script.read_text(encoding="utf-8")


@pytest.fixture
def violations(axe_source: str) -> Callable[[Any], list[str]]:
    """Give a function that returns what axe-core finds wrong with a page, in its light and in its dark colours."""

    def violations(page: Any) -> list[str]:
        page.evaluate(axe_source)  # over the debugger, which our Content-Security-Policy does not bind
        found = []
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            result = page.evaluate("axe.run(document, {resultTypes: ['violations'], preload: false})")
            found += [
                f"{scheme}: {one['id']} {node['target']} {node['failureSummary']}"
                for one in result["violations"]
                for node in one["nodes"]
            ]
        return found

    return violations


def fits(page: Any) -> bool:
    """Say whether nothing sticks out at the side of the page."""
    if page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
        return True
    wide = "e => e.getBoundingClientRect().right > innerWidth && !e.closest('.scroll') && !e.closest('svg')"
    pytest.fail(page.evaluate(f"[...document.body.querySelectorAll('*')].filter({wide}).map(e => e.outerHTML).join()"))


@pytest.fixture
def screenshots() -> Path:
    """Give the folder for pictures that a person looks at; git ignores it."""
    SCREENSHOTS.mkdir(exist_ok=True)
    return SCREENSHOTS
