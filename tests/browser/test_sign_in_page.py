"""Signing in with a key in a real browser, by keyboard, and out again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.database import Database
from app.keys import service as keys
from app.keys.schemas import KeyRequest
from app.pages.words import words_of
from tests.app.fakes import FakeBot
from tests.browser.conftest import Service, fits

pytestmark = pytest.mark.browser

WORDS = {language: words_of("sign_in", language) for language in ("en", "zh")}


def new_key(service: Service, *scopes: str) -> str:
    database = Database(service.database_url)
    with database.writing() as session:
        secret = keys.create(session, KeyRequest.model_validate({"scopes": list(scopes)})).secret
    database.close()
    return secret


@pytest.mark.parametrize(("language", "width"), [("en", 1280), ("zh", 375)])
def test_a_key_opens_the_page_that_was_asked_for(
    serve: Callable, visit: Callable, violations: Callable, screenshots: Path, language: str, width: int
) -> None:
    words = WORDS[language]
    service = serve(FakeBot(), anonymous="none")
    page = visit(f"{service.url}/batches", width=width, language=language)
    assert page.url == f"{service.url}/sign-in?next=%2Fbatches"
    assert fits(page)
    assert violations(page) == []
    page.get_by_label(words["key"]).fill("rj-nonsense")
    page.keyboard.press("Enter")
    page.get_by_role("alert").wait_for()
    assert page.get_by_role("alert").inner_text() == words["wrong"]
    assert violations(page) == []
    page.screenshot(path=screenshots / f"sign-in-{language}-{width}.png")
    visit.complaints.clear()  # type: ignore[attr-defined]  # the browser's own about 401, which this is
    page.get_by_label(words["key"]).fill(new_key(service, "chat"))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{service.url}/batches")
    assert fits(page)
    assert violations(page) == []
    page.goto(f"{service.url}/")
    page.locator("textarea").first.fill("hello")
    page.keyboard.press("Enter")
    page.get_by_text("hello, ").first.wait_for()  # a stream, by the cookie
    page.screenshot(path=screenshots / f"signed-in-{language}-{width}.png")
    page.get_by_role("button", name=words["sign_out"]).click()
    page.wait_for_url(f"{service.url}/sign-in")
    page.goto(f"{service.url}/batches")
    assert "/sign-in" in page.url
