"""Studies in a real browser: draft, look, start, invite, watch, close; and what is typed wrongly is not lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.pages.words import words_of
from tests.app.fakes import FakeBot
from tests.browser.conftest import CROSS, fits
from tests.browser.real import RealService

pytestmark = pytest.mark.browser

WORDS = {language: words_of("studies", language) for language in ("en", "zh")}
EVIL = "<script>document.title='owned'</script>"


@CROSS
def test_draft_start_invite_watch_close(
    real: RealService, visit: Callable, violations: Callable, screenshots: Path, language: str, width: int
) -> None:
    words = WORDS[language]
    slug = f"which-{language}-{width}"
    page = visit(f"{real.url}/studies", width=width, language=language)
    page.locator("[name=title]").fill(f"Which {language} {width}? {EVIL}")
    page.locator("[name=slug]").fill(slug)
    page.get_by_label(words["system_model"].format(name="transformer"), exact=True).check()
    page.get_by_label(words["system_best"].format(name="recurrent")).check()
    lines = ["hello | hi | how are you?", json.dumps({"turns": ["do you like music?", EVIL, "你好"], "reply": "Yes."})]
    page.locator("[name=contexts]").fill("\n".join(lines))
    page.screenshot(path=screenshots / f"studies-{language}-{width}.png", full_page=True)
    assert fits(page)
    assert violations(page) == []
    page.get_by_role("button", name=words["draft"], exact=True).click()
    page.get_by_role("heading", name=f"Which {language}").wait_for()
    assert page.url.endswith(f"/studies/{slug}")
    assert EVIL in page.get_by_role("heading", level=1).inner_text()
    page.locator(".item summary").first.click()
    page.screenshot(path=screenshots / f"study-{language}-{width}-draft.png", full_page=True)
    assert fits(page)
    assert violations(page) == []
    study = f"(select id from study where slug = '{slug}')"
    assert real.rows(f"select kind, count(*) from item where study_id = {study} group by kind") == [("pair", 2)]
    page.get_by_role("button", name=words["start"], exact=True).click()
    page.get_by_text(words["next_running"]).wait_for()
    page.locator("[name=label]").fill(EVIL)
    page.get_by_role("button", name=words["make_link"]).click()
    page.locator(".link").wait_for()
    link = page.locator(".link").inner_text()
    assert link.startswith(f"{real.url}/rate/join/")
    page.screenshot(path=screenshots / f"study-{language}-{width}.png", full_page=True)
    assert fits(page)
    assert violations(page) == []
    rater = visit(link, beside=page)
    rating = words_of("rating", language)
    rater.locator("form[action$=consent] button").click()
    rater.locator(".verdict").wait_for()
    rater.get_by_text(rating["flag_open"], exact=True).click()
    rater.get_by_label(rating["flag_comment"]).fill(EVIL)
    rater.get_by_role("button", name=rating["flag"]).click()
    rater.get_by_text(rating["notice_was_flagged"]).wait_for()
    rater.keyboard.press("1")
    rater.wait_for_url("**?after=*")
    page.goto(page.url)  # leads back: the link is not shown again
    assert link not in page.content()
    assert page.get_by_text(words["judgements_of"].format(done=1, wanted=6)).is_visible()
    assert EVIL in page.locator(".item[open] .notice").inner_text()  # what the rater reported, as text
    page.screenshot(path=screenshots / f"study-{language}-{width}-watched.png", full_page=True)
    assert violations(page) == []
    page.get_by_role("button", name=words["revoke"]).click()
    page.get_by_text(words["revoked"], exact=True).wait_for()
    page.get_by_role("button", name=words["close"]).click()
    page.get_by_text(words["next_closed"]).wait_for()
    assert violations(page) == []
    assert real.rows(f"select status from study where slug = '{slug}'") == [("closed",)]
    assert real.rows(f"select count(*), count(revoked_at) from invitation where study_id = {study}") == [(1, 1)]
    judged = "select assignment_id from judgement"
    of_study = f"item_id in (select id from item where study_id = {study})"
    assert real.rows(f"select state, flag_comment from assignment where {of_study} and id in ({judged})") == [
        ("done", EVIL)
    ]
    page.goto(f"{real.url}/studies")
    assert page.get_by_role("link", name=f"Which {language} {width}?").is_visible()
    page.goto(f"{real.url}/board?study={slug}")  # the title stands in its tab, as text
    assert page.locator(".tabs a", has_text=EVIL).first.is_visible()
    assert page.title() != "owned"


def test_a_draft_a_link_and_an_end_that_are_sent_twice(serve: Callable, visit: Callable) -> None:
    words = WORDS["en"]
    service = serve(FakeBot("mle", seconds=0.3))
    page = visit(f"{service.url}/studies", script=False)
    page.locator("[name=title]").fill("三个系统")  # no letter of it can stand in an address
    page.get_by_label("mle", exact=True).check()
    page.get_by_label(words["system_best"].format(name="mle")).check()
    page.locator("[name=contexts]").fill("Hello?")
    page.get_by_role("button", name=words["draft"], exact=True).dblclick()
    page.get_by_role("heading", name="三个系统").wait_for()
    assert service.rows("select count(*) from study") == service.rows("select count(*) from item") == [(1,)]
    page.go_back()
    page.wait_for_load_state()
    page.go_forward()
    page.wait_for_load_state()
    second = visit(page.url, beside=page)
    for one in (page, second):  # both tabs start it
        one.get_by_role("button", name=words["start"], exact=True).click()
        one.get_by_text(words["next_running"]).wait_for()
    page.get_by_role("button", name=words["make_link"]).dblclick()
    page.locator(".link").wait_for()
    link = page.locator(".link").inner_text()
    page.reload()  # sends the form again, and is told the same link
    assert page.locator(".link").inner_text() == link
    assert service.rows("select count(*) from invitation") == [(1,)]
    second.get_by_role("button", name=words["make_link"]).click()
    second.locator(".link").wait_for()
    assert second.locator(".link").inner_text() != link
    assert service.rows("select count(*) from invitation") == [(2,)]
    page.goto(page.url)
    for one in (page, second):
        one.get_by_role("button", name=words["close"]).dblclick()
        one.get_by_text(words["next_closed"]).wait_for()
    assert service.rows("select status from study") == [("closed",)]
    actions = "select action, count(*) from audit_event group by action order by action"
    assert dict(service.rows(actions)) == {"create": 1, "add items": 1, "start": 1, "invite": 2, "close": 1}


@CROSS
def test_all_items_can_be_looked_through_without_script(
    serve: Callable, visit: Callable, violations: Callable, screenshots: Path, language: str, width: int
) -> None:
    words = WORDS[language]
    page = visit(f"{serve(FakeBot('mle')).url}/studies", script=False, width=width, language=language)
    page.locator("[name=title]").fill("Many")
    page.get_by_label("mle", exact=True).check()
    page.get_by_label(words["system_best"].format(name="mle")).check()
    page.locator("[name=contexts]").fill("\n".join(f"Hello {number}?" for number in range(60)))
    page.get_by_role("button", name=words["draft"], exact=True).click()
    seen: list[str] = []
    counts = []
    more, first = (page.get_by_role("link", name=words[name]) for name in ("more_items", "first_items"))
    assert first.count() == 0
    page.get_by_role("button", name=words["start"], exact=True).click()
    while True:
        shown = [text.split("?")[0] for text in page.locator(".item summary").all_inner_texts()]
        counts.append(len(shown))
        seen += shown
        if more.count() == 0:
            break
        more.click()
    assert counts == [25, 25, 10]
    assert sorted(seen) == sorted(f"Hello {number}" for number in range(60))
    assert fits(page)
    assert violations(visit(page.url, width=width, language=language)) == []
    page.locator(".item summary").nth(3).click()
    page.locator(".item[open]").get_by_role("button", name=words["withdraw"]).click()
    page.locator(".item .chip", has_text=words["withdrawn"]).wait_for()  # and it is still this page of them
    page.screenshot(path=screenshots / f"study-{language}-{width}-items.png", full_page=True)
    assert page.locator(".item").count() == 10
    first.click()
    page.wait_for_url("**/studies/many#items")
    assert page.locator(".item").count() == 25


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_wrong_is_said_in_the_owners_language(
    serve: Callable, visit: Callable, violations: Callable, screenshots: Path, language: str
) -> None:
    words = WORDS[language]
    page = visit(f"{serve(FakeBot('mle')).url}/studies", language=language, width=375)
    page.locator("[name=title]").fill("My study")
    page.get_by_label("mle", exact=True).check()
    page.locator("[name=contexts]").fill("Hello?")
    page.get_by_role("button", name=words["draft"], exact=True).click()
    page.get_by_role("alert").wait_for()
    told = {"en": "a pair study needs at least two", "zh": "成对比较至少需要两个系统"}[language]
    assert told in page.get_by_role("alert").inner_text()
    page.screenshot(path=screenshots / f"studies-{language}-375-wrong.png")
    assert fits(page)
    assert violations(page) == []
    visit.complaints.clear()  # type: ignore[attr-defined]  # the 400


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
