"""Studies in a real browser: draft, look, start, invite, watch, close; and what is typed wrongly is not lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.pages.words import words_of
from tests.app.fakes import FakeBot
from tests.browser.conftest import fits

pytestmark = pytest.mark.browser

WORDS = {language: words_of("studies", language) for language in ("en", "zh")}
EVIL = "<script>document.title='owned'</script>"


@pytest.mark.parametrize(("language", "width"), [("en", 1280), ("en", 375), ("zh", 1280), ("zh", 375)])
def test_draft_start_invite_watch_close(
    serve: Callable, visit: Callable, violations: Callable, screenshots: Path, language: str, width: int
) -> None:
    words = WORDS[language]
    service = serve(FakeBot("cseqgan"), FakeBot("mle"))
    page = visit(f"{service.url}/studies", width=width, locale="zh-CN" if language == "zh" else "en-GB")
    assert page.get_by_text(words["empty"]).is_visible()
    assert violations(page) == []
    page.screenshot(path=screenshots / f"studies-{language}-{width}-empty.png", full_page=True)
    page.locator("[name=title]").fill(f"Which one? {EVIL}")
    page.get_by_label(words["system_model"].format(name="mle"), exact=True).check()
    page.get_by_label(words["system_best"].format(name="cseqgan")).check()
    lines = ["How are you? | Fine. | And yesterday?", json.dumps({"turns": ["Do you like tea?"], "reply": "Yes."})]
    page.locator("[name=contexts]").fill("\n".join(lines))
    page.get_by_role("button", name=words["draft"]).click()
    page.get_by_role("heading", name="Which one?").wait_for()
    assert page.url.endswith("/studies/which-one-script-document-title-owned-script")
    assert EVIL in page.get_by_role("heading", level=1).inner_text()
    page.locator(".item summary").first.click()
    page.screenshot(path=screenshots / f"study-{language}-{width}-draft.png", full_page=True)
    assert fits(page)
    assert violations(page) == []
    assert service.rows("select kind, count(*) from item group by kind") == [("pair", 2)]
    page.get_by_role("button", name=words["start"], exact=True).click()
    page.get_by_text(words["next_running"]).wait_for()
    page.locator("[name=label]").fill(EVIL)
    page.get_by_role("button", name=words["make_link"]).click()
    link = page.locator(".link").inner_text()
    assert link.startswith(f"{service.url}/rate/join/")
    page.screenshot(path=screenshots / f"study-{language}-{width}.png", full_page=True)
    assert fits(page)
    assert violations(page) == []
    rater = visit(link, beside=page)
    rater.locator("form[action$=consent] button").click()
    rater.locator(".verdict").wait_for()
    rater.keyboard.press("1")
    rater.wait_for_url("**?after=*")
    page.goto(page.url)  # leads back: the link is not shown again
    assert link not in page.content()
    assert page.get_by_text(words["judgements_of"].format(done=1, wanted=6)).is_visible()
    page.get_by_role("button", name=words["revoke"]).click()
    page.get_by_text(words["revoked"], exact=True).wait_for()
    page.get_by_role("button", name=words["close"]).click()
    page.get_by_text(words["next_closed"]).wait_for()
    assert service.rows("select status from study") == [("closed",)]
    assert service.rows("select count(*) from judgement") == [(1,)]
    page.goto(f"{service.url}/studies")
    assert page.get_by_role("link", name="Which one?").is_visible()
    assert violations(page) == []


def test_what_is_wrong_is_said_and_what_was_typed_stays(serve: Callable, visit: Callable) -> None:
    service = serve(FakeBot("mle"))
    page = visit(f"{service.url}/studies", script=False)
    words = WORDS["en"]
    page.locator("[name=title]").fill("My study")
    page.get_by_label("mle", exact=True).check()
    page.locator("[name=contexts]").fill('Hello?\n{"turns": 5}')
    page.get_by_role("button", name=words["draft"]).click()
    assert "contexts, line 2: turns" in page.get_by_role("alert").inner_text()
    page.locator("[name=contexts]").fill("Hello?")
    page.get_by_role("button", name=words["draft"]).click()
    assert "a pair study needs at least two" in page.get_by_role("alert").inner_text()
    assert page.locator("[name=title]").input_value() == "My study"
    assert page.get_by_label("mle", exact=True).is_checked()
    assert service.rows("select count(*) from study") == [(0,)]  # no half of it stays behind
    page.get_by_label(words["system_human"]).check()
    page.get_by_role("button", name=words["draft"]).click()
    assert "reply: is required" in page.get_by_role("alert").inner_text()
    page.locator("[name=contexts]").fill('{"turns": ["Hello?"], "reply": "Hi!"}')
    page.get_by_role("button", name=words["draft"]).click()
    page.get_by_role("button", name=words["delete"]).click()
    page.get_by_text(words["empty"]).wait_for()
    visit.complaints.clear()  # type: ignore[attr-defined]  # the 400s


def test_contexts_from_a_file_whose_name_is_no_markup(serve: Callable, visit: Callable, tmp_path: Path) -> None:
    file = tmp_path / "<img src=x onerror=alert(1)>.jsonl"
    file.write_text("Hello? | Hi.\n", encoding="utf-8")
    page: Any = visit(f"{serve(FakeBot()).url}/studies")
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_text(file.name).wait_for()
    assert page.locator("[name=contexts]").input_value() == "Hello? | Hi.\n"
    assert page.locator("img").count() == 1
