"""The arena in a real browser: two replies without names, a vote by keys, the names, and one row in the database."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from app.pages.words import words_of
from tests.app.fakes import FakeBot
from tests.browser.conftest import CROSS, fits
from tests.browser.real import RealService

pytestmark = pytest.mark.browser

WORDS = {language: words_of("arena", language) for language in ("en", "zh")}
EVIL = "<img src=x onerror=document.title='owned'>"


def bots() -> list[FakeBot]:
    return [
        FakeBot("cseqgan", has_discriminator=False, say=lambda request, choice: "I stayed at home with my cat."),
        FakeBot("mle", has_discriminator=False, digest="e" * 64, say=lambda request, choice: "I don't know."),
    ]


@CROSS
def test_a_round_a_vote_and_the_names(
    real: RealService, visit: Callable, violations: Callable, screenshots: Path, language: str, width: int
) -> None:
    words = WORDS[language]
    said = f"hello {language} {width}"  # the tests share a database: this is what the rows of this one are found by
    page = visit(f"{real.url}/arena", width=width, language=language)
    page.screenshot(path=screenshots / f"arena-{language}-{width}-empty.png")
    assert violations(page) == []
    page.get_by_label(words["message"]).fill(said)
    page.get_by_label(words["message"]).press("Enter")
    page.locator(".verdict button:enabled").first.wait_for()
    assert "recurrent" not in page.content()  # not even in what is hidden
    assert "transformer" not in page.content()
    shown = page.locator(".replies .text").all_inner_texts()
    page.screenshot(path=screenshots / f"arena-{language}-{width}.png")
    assert fits(page)
    assert violations(page) == []
    page.reload()  # the pair waits
    assert page.locator(".replies .text").all_inner_texts() == shown
    page.keyboard.press("1")
    page.get_by_text(words["voted"]).wait_for()
    names = page.locator(".whose strong").all_inner_texts()
    assert {name.split(" · ")[0] for name in names} <= {"recurrent", "transformer"}
    page.screenshot(path=screenshots / f"arena-{language}-{width}-voted.png")
    assert violations(page) == []
    mine = f"""
        from judgement join assignment on assignment.id = judgement.assignment_id
        join item on item.id = assignment.item_id join context on context.id = item.context_id
        where context.messages like '%"{said}"%'"""
    won = real.rows(
        f"""select system.name, response.text from response join system on system.id = response.system_id where
        response.id = (select case judgement.choice when 'a' then response_a_id else response_b_id end {mine})"""
    )
    assert won == [(names[0].split(" · ")[0], shown[0] if shown[0] != words["silence"] else "")]
    page.reload()
    assert page.locator(".whose strong").all_inner_texts() == names
    page.get_by_label(words["message"]).fill(said)
    page.get_by_role("button", name=words["send"]).dblclick()
    page.locator(".verdict button:enabled").first.wait_for()
    page.keyboard.press("0")
    page.get_by_text(words["voted"]).wait_for()
    assert real.rows(f"select judgement.choice {mine} order by judgement.id")[1:] == [("tie",)]
    assert real.rows(f"select count(*), sum(item.done), count(distinct item.status) {mine}") == [(2, 2, 1)]
    battles = httpx.get(f"{real.url}/v1/exports/battles").text.splitlines()
    assert sum(said in one for one in battles) == 2
    page.goto(f"{real.url}/board?study=arena")
    assert page.get_by_role("rowheader", name="recurrent").first.is_visible()


def test_without_script_two_tabs_and_no_second_thoughts(serve: Callable, visit: Callable) -> None:
    words = WORDS["en"]
    service = serve(*bots())
    page = visit(f"{service.url}/arena", script=False)
    page.get_by_label(words["message"]).fill(EVIL)
    page.get_by_role("button", name=words["send"]).click()
    page.locator(".verdict").wait_for()
    assert page.locator(".context .text").inner_text() == EVIL
    second = visit(f"{service.url}/arena", beside=page)
    page.get_by_role("button", name=words["choice_both_bad"]).dblclick()
    page.get_by_text(words["voted"]).wait_for()
    second.get_by_role("button", name=words["choice_left"]).click()
    second.get_by_text(words["notice_already_revealed"]).wait_for()
    assert service.rows("select choice from judgement") == [("both_bad",)]
    page.get_by_label(words["message"]).fill("again")
    page.get_by_role("button", name=words["send"]).click()
    page.get_by_role("button", name=words["skip_pair"]).click()
    page.get_by_text(words["notice_skipped"]).wait_for()
    assert service.rows("select count(*) from judgement") == [(1,)]
    assert service.rows("select state from assignment order by id") == [("done",), ("skipped",)]


@pytest.mark.parametrize("script", [True, False])
def test_a_pair_whose_time_is_up_and_the_way_back(serve: Callable, visit: Callable, script: bool) -> None:
    words = WORDS["en"]
    service = serve(*bots())
    page = visit(f"{service.url}/arena", script=script)

    def ask(message: str) -> None:
        page.get_by_label(words["message"]).fill(message)
        page.get_by_role("button", name=words["send"]).click()
        page.locator(".verdict button:enabled").first.wait_for()

    ask("hi")
    service.execute("update assignment set expires_at = '2020-01-01 00:00:00.000000'")
    page.get_by_role("button", name=words["choice_left"]).click()
    page.get_by_text(words["notice_lease_expired"]).wait_for()
    assert service.rows("select count(*) from judgement") == [(0,)]
    ask("again")
    page.get_by_role("button", name=words["choice_right"]).click()
    page.get_by_text(words["voted"]).wait_for()
    names = page.locator(".whose strong").all_inner_texts()
    page.get_by_role("link", name=words["votes"]).click()
    page.get_by_role("heading", name=words_of("board", "en")["title"], exact=True).wait_for()
    page.go_back()
    page.get_by_text(words["voted"]).wait_for()
    assert page.locator(".whose strong").all_inner_texts() == names
    assert service.rows("select count(*) from judgement") == [(1,)]
    assert service.rows("select state from assignment order by id") == [("expired",), ("done",)]
    visit.complaints.clear()  # type: ignore[attr-defined]  # the 409


def test_a_model_meets_its_own_best_of_four(serve: Callable, visit: Callable) -> None:
    page = visit(f"{serve(FakeBot('one')).url}/arena")
    page.get_by_label(WORDS["en"]["message"]).fill("hi")
    page.get_by_label(WORDS["en"]["message"]).press("Enter")
    page.locator(".verdict button:enabled").first.wait_for()
    page.keyboard.press("9")
    page.get_by_text(WORDS["en"]["voted"]).wait_for()
    assert sorted(page.locator(".whose strong").all_inner_texts()) == ["one", "one · best of 4"]


def test_a_lost_connection_is_said_and_the_vote_counts_once(serve: Callable, visit: Callable) -> None:
    words = WORDS["en"]
    service = serve(*bots())
    page = visit(f"{service.url}/arena")
    box = page.get_by_label(words["message"])
    page.route("**/arena/round", lambda route: route.abort())
    box.fill("hi")
    box.press("Enter")
    page.get_by_text(words["unreachable"]).wait_for()
    assert box.input_value() == "hi"
    page.unroute("**/arena/round")
    box.press("Enter")
    page.locator(".verdict button:enabled").first.wait_for()

    def lose_the_answer(route):
        route.fetch()
        route.abort()

    page.route("**/arena/vote", lose_the_answer)
    page.keyboard.press("1")
    page.get_by_text(words["unreachable_vote"]).wait_for()
    page.unroute("**/arena/vote")
    page.keyboard.press("1")
    page.get_by_text(words["voted"]).wait_for()
    assert service.rows("select count(*) from judgement") == [(1,)]
    assert all("ERR_FAILED" in one for one in visit.complaints)  # type: ignore[attr-defined]
    visit.complaints.clear()  # type: ignore[attr-defined]


def test_nothing_to_compare(serve: Callable, visit: Callable, violations: Callable) -> None:
    page = visit(f"{serve(FakeBot(has_discriminator=False)).url}/arena", width=375)
    assert page.get_by_role("heading", name=WORDS["en"]["too_few"]).is_visible()
    assert violations(page) == []
