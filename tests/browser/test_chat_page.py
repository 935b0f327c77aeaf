"""The chat page in a real browser: talk, rate, reload; in both languages, wide and narrow, with and without script."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.pages.words import words_of
from tests.app.fakes import FakeBot
from tests.browser.conftest import CROSS, fits
from tests.browser.real import RealService

pytestmark = pytest.mark.browser

WORDS = {language: words_of("chat", language) for language in ("en", "zh")}

SAYINGS = {"en": ["hello", "do you like music?"], "zh": ["你好", "你好吗？"]}


@CROSS
def test_talk_and_rate(
    real: RealService,
    visit: Callable,
    violations: Callable,
    screenshots: Path,
    language: str,
    width: int,
) -> None:
    words = WORDS[language]
    scheme = "light" if (language == "en") == (width > 1000) else "dark"
    page = visit(real.url, language=language, width=width, color_scheme=scheme)
    name = f"chat-{language}-{width}-{scheme}"
    assert page.get_by_role("heading", name=words["welcome"]).is_visible()
    assert fits(page)
    page.screenshot(path=screenshots / f"{name}-welcome.png")
    assert violations(page) == []
    page.emulate_media(color_scheme=scheme)
    page.get_by_label(words["model"]).select_option("transformer" if scheme == "dark" else "recurrent")
    page.get_by_label(words["message"]).fill(SAYINGS[language][0])
    page.get_by_label(words["message"]).press("Enter")
    page.locator(".turn.reply:not(.pending)").wait_for()
    page.get_by_label(words["model"]).select_option("recurrent")
    page.get_by_label(words["best"]).check()
    page.get_by_label(words["message"]).fill(SAYINGS[language][1])
    page.get_by_role("button", name=words["send"], exact=True).click()
    page.locator(".turn.reply:not(.pending)").nth(1).wait_for()
    assert page.get_by_label(words["message"]).input_value() == ""
    said = page.locator(".log .turn > .text").all_inner_texts()
    page.get_by_role("button", name=words["up"], exact=True).last.click()
    page.get_by_role("button", name=words["down"], exact=True).first.click()
    page.get_by_text(words["stored"]).wait_for(state="attached")
    page.wait_for_function("() => document.querySelectorAll('[aria-pressed=true]').length === 2")
    page.mouse.move(0, 0)
    page.screenshot(path=screenshots / f"{name}.png")
    assert fits(page)
    for summary in page.locator(".log .turn summary:visible").all()[:5]:
        summary.click()
    page.screenshot(path=screenshots / f"{name}-open.png", full_page=True)
    assert fits(page)
    assert violations(page) == []

    page.reload()  # the address has become the conversation's, and the thumbs come from the database
    assert page.locator(".log .turn > .text").all_inner_texts() == said
    assert page.locator(".log [aria-pressed=true]").count() == 2
    conversation = page.url.split("conversation=")[1].split("&")[0]
    stored = real.rows(
        "select turn.position, turn.text, system.name, judgement.value from turn"
        " left join response on response.id = turn.response_id left join system on system.id = response.system_id"
        " left join judgement on judgement.response_id = response.id"
        f" where conversation_id = '{conversation}' order by turn.position"
    )
    replies = [text if text != words["silence"] else "" for text in said[1::2]]
    assert stored == [
        (0, SAYINGS[language][0], None, None),
        (1, replies[0], "transformer" if scheme == "dark" else "recurrent", -1),
        (2, SAYINGS[language][1], None, None),
        (3, replies[1], "recurrent", 1),
    ]


def test_without_script(serve: Callable, visit: Callable, screenshots: Path) -> None:
    words = WORDS["en"]
    bot = FakeBot("demo-cseqgan", say=lambda request, choice: f"reply {len(request.turns)}")
    service = serve(FakeBot("demo-mle"), bot)
    page = visit(service.url, script=False, width=375)
    page.get_by_role("button", name=words["opener_2"]).click()
    page.get_by_label(words["model"]).select_option("demo-cseqgan")
    page.get_by_label(words["best"]).check()
    page.get_by_label(words["message"]).fill("one")
    page.get_by_role("button", name=words["send"]).click()
    page.get_by_role("log").get_by_text("reply 3").wait_for()
    assert page.get_by_label(words["model"]).input_value() == "demo-cseqgan"
    assert page.get_by_label(words["best"]).is_checked()
    page.get_by_role("button", name=words["down"], exact=True).last.click()
    page.locator(".log [aria-pressed=true]").wait_for()
    page.screenshot(path=screenshots / "chat-without-script.png")
    assert bot.batches[0][0].best_of == 4
    assert service.rows("select value from judgement") == [(-1,)]
    page.locator(".head").get_by_role("link", name=words["new"]).click()
    page.get_by_role("heading", name=words["welcome"]).wait_for()


def test_an_opener_leaves_what_was_typed(serve: Callable, visit: Callable) -> None:
    page = visit(serve(FakeBot()).url)
    box = page.get_by_label("Message")
    box.fill("half a sent")
    page.get_by_role("button", name=WORDS["en"]["opener_2"]).click()
    page.locator(".turn.reply:not(.pending)").wait_for()
    assert page.locator(".log .turn .text").first.inner_text() == WORDS["en"]["opener_2"]
    assert box.input_value() == "half a sent"
    page.reload()
    assert box.input_value() == "half a sent"


def test_the_language_can_be_changed_in_mid_conversation(serve: Callable, visit: Callable) -> None:
    page = visit(serve(FakeBot()).url)
    page.get_by_label("Message").fill("hello")
    page.get_by_role("button", name="Send").click()
    page.locator(".turn.reply:not(.pending)").wait_for()
    page.get_by_role("link", name="中文").click()
    page.get_by_role("button", name=WORDS["zh"]["send"]).wait_for()
    assert page.locator(".log .text", has_text="hello").first.is_visible()
    assert page.locator("html").get_attribute("lang") == "zh-Hans"


def test_while_the_model_works_and_when_it_fails(serve: Callable, visit: Callable, screenshots: Path) -> None:
    bot = FakeBot(gate=threading.Event())
    page = visit(serve(bot).url)
    box = page.get_by_label("Message")
    box.fill("break down")
    box.press("Enter")
    page.locator(".turn.reply.pending").wait_for()
    page.get_by_role("button", name="Stop").wait_for()
    assert not page.get_by_role("button", name="Send", exact=True).is_visible()
    page.screenshot(path=screenshots / "chat-pending.png")
    bot.gate.set()
    page.get_by_role("alert").wait_for()
    assert "model failed" in page.get_by_role("alert").inner_text()
    assert box.input_value() == "break down"  # nothing that was typed is lost
    assert page.locator(".log .turn").count() == 0
    page.screenshot(path=screenshots / "chat-failed.png")
    assert len(visit.complaints) == 1  # type: ignore[attr-defined]
    assert "500" in visit.complaints.pop()  # type: ignore[attr-defined]
    box.fill("again")
    box.press("Enter")
    page.get_by_text("again, ").wait_for()


def test_text_stays_text(serve: Callable, visit: Callable) -> None:
    evil = "<img src=x onerror=document.title='owned'> & <b>bold</b>"
    service = serve(FakeBot(say=lambda request, choice: request.turns[-1]))
    page = visit(service.url)
    page.get_by_label("Message").fill(evil)
    page.get_by_label("Message").press("Enter")
    page.locator(".turn.reply:not(.pending)").wait_for()
    for _ in range(2):
        assert page.locator(".log .text").all_inner_texts() == [evil, evil]
        assert "owned" not in page.title()
        page.reload()


def test_enter_that_chooses_a_chinese_word_does_not_send(serve: Callable, visit: Callable) -> None:
    service = serve(FakeBot())
    page = visit(service.url)
    box = page.get_by_label("Message")
    box.fill("ni")
    box.evaluate("b => b.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true}))")
    box.press("Shift+Enter")
    assert box.input_value() == "ni\n"
    assert page.locator(".log .turn").count() == 0


def test_pages_without_a_model_and_with_an_error(
    serve: Callable, visit: Callable, violations: Callable, screenshots: Path
) -> None:
    service = serve()
    page = visit(service.url, width=375)
    assert page.get_by_text("rejoinder serve --models").is_visible()
    assert fits(page)
    page.screenshot(path=screenshots / "no-model.png")
    assert violations(page) == []
    page.goto(f"{service.url}/?conversation=none&lang=zh")
    assert page.get_by_role("link", name=WORDS["zh"]["back"]).is_visible()
    assert violations(page) == []
    page.screenshot(path=screenshots / "error.png")
    visit.complaints.clear()  # type: ignore[attr-defined]  # the 404 itself


def talk(page: Any, *messages: str) -> None:
    """Send messages, and wait for the reply to each."""
    for message in messages:
        count = page.locator(".turn.reply:not(.pending)").count()
        page.get_by_label("Message", exact=True).fill(message)
        page.get_by_label("Message", exact=True).press("Enter")
        page.locator(".turn.reply:not(.pending)").nth(count).wait_for()


def live_turns(service: Any) -> list[tuple[object, ...]]:
    return list(service.rows("select position, text from turn where replaced_at is null order by position"))


def test_another_reply_edit_and_history(serve: Callable, visit: Callable) -> None:
    bot = FakeBot(say=lambda request, choice: f"{request.turns[-1]} to you too ({request.seed})")
    service = serve(bot)
    page = visit(service.url)
    talk(page, "one", "two")
    before = page.locator(".turn.reply .text").last.inner_text()
    page.get_by_role("button", name="Another reply").click()
    page.wait_for_function(
        "text => document.querySelector('.turn.reply:last-child .text').innerText !== text", arg=before
    )
    page.locator(".turn.reply.last:not(.pending)").wait_for()
    assert page.locator(".log .turn").count() == 4
    page.locator(".turn.user").first.get_by_text("Edit").click()
    page.locator(".turn.user textarea").first.fill("uno")
    page.get_by_role("button", name="Send again").click()
    page.locator(".turn.user .text", has_text="uno").wait_for()
    page.locator(".turn.reply.last:not(.pending)").wait_for()
    assert page.locator(".log .turn").count() == 2
    talk(page, "dos")
    shown = page.locator(".log .text").all_inner_texts()
    assert shown == [text for _, text in live_turns(service)]
    assert bot.batches[-1][0].turns[0] == "uno"
    assert service.rows("select count(*) from turn where replaced_at is not null") == [(5,)]
    page.get_by_role("link", name="New conversation").click()
    talk(page, "other")
    page.get_by_role("link", name="uno").click()
    page.locator(".log .text", has_text="dos").first.wait_for()
    assert page.locator(".log .text").all_inner_texts() == shown
    page.go_back()
    page.locator(".log .text", has_text="other").first.wait_for()
    page.get_by_role("button", name="Delete: uno").click()
    page.wait_for_function("() => !document.querySelector('.history').innerText.includes('uno')")
    assert service.rows("select count(*) from conversation") == [(1,)]


def test_reasons_values_score_copy_and_privacy(serve: Callable, visit: Callable) -> None:
    service = serve(FakeBot())
    page = visit(service.url, permissions=["clipboard-read", "clipboard-write"])
    talk(page, "one")
    page.get_by_text("Human?").click()
    assert page.get_by_text("90 % human").is_visible()
    page.get_by_role("button", name="Bad reply").click()
    page.get_by_text("Why?").click()
    page.get_by_label("dull").check()
    page.get_by_label("Comment").fill("<b>so so</b>")
    page.get_by_role("button", name="Save").click()
    page.wait_for_function("() => !document.querySelector('.why').open")
    page.locator(".scales summary").click()
    page.get_by_role("group", name="fluent").get_by_label("4").check()
    page.get_by_role("button", name="Save").click()
    page.wait_for_function("() => !document.querySelector('.scales').open")
    superseded = "select supersedes from judgement where supersedes is not null"
    live = service.rows(f"select kind, dimension, value, comment from judgement where id not in ({superseded})")
    assert live == [("thumb", "", -1, "<b>so so</b>"), ("scale", "fluent", 4, None)]
    page.get_by_role("button", name="Copy").click()
    page.get_by_text("Copied.").last.wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator(".turn.reply .text").inner_text()
    page.get_by_label("Keep my words out").check()
    page.get_by_text("left out of every export from now on").last.wait_for()
    assert service.rows("select shared from conversation") == [(0,)]
    page.reload()
    assert page.get_by_label("Keep my words out").is_checked()
    page.get_by_text("Why?").click()  # saved again, nothing of it would be lost
    assert page.get_by_label("dull").is_checked()
    assert page.get_by_label("Comment").input_value() == "<b>so so</b>"
    page.locator(".scales summary").click()
    assert page.get_by_role("group", name="fluent").get_by_label("4").is_checked()


def test_stop_gives_the_message_back_and_stores_nothing(serve: Callable, visit: Callable) -> None:
    bot = FakeBot()
    service = serve(bot)
    page = visit(service.url)
    talk(page, "one")
    bot.gate = threading.Event()
    bot.began.clear()
    box = page.get_by_label("Message", exact=True)
    box.fill("two")
    box.press("Enter")
    assert bot.began.wait(10)
    page.get_by_role("button", name="Stop").click()
    page.get_by_text(WORDS["en"]["stopped"]).wait_for()
    assert box.input_value() == "two"
    assert page.locator(".log .turn").count() == 2
    bot.gate.set()
    bot.gate = None
    talk(page, "two again")
    assert [text for _, text in live_turns(service)][2] == "two again"
    assert service.rows("select count(*) from response") == [(2,)]


def test_a_connection_lost_in_mid_stream_and_sent_again_counts_once(serve: Callable, visit: Callable) -> None:
    service = serve(FakeBot())
    page = visit(service.url)
    talk(page, "one")

    def cut(route: Any) -> None:
        """Let the service answer, and lose the end of what it says on the way."""
        whole = route.fetch()
        route.fulfill(status=200, content_type="text/event-stream", body=whole.body().split(b"\n\n")[0] + b"\n\n")

    page.route("**/chat", cut)
    box = page.get_by_label("Message", exact=True)
    box.fill("two")
    box.press("Enter")
    page.get_by_text(WORDS["en"]["cut"]).wait_for()
    assert box.input_value() == "two"
    page.unroute("**/chat")
    box.press("Enter")  # it was stored before the connection broke: the page shows what is stored
    page.wait_for_url("**#reply-*")
    page.locator(".turn.reply:not(.pending)").nth(1).wait_for()
    assert [text for _, text in live_turns(service)] == page.locator(".log .text").all_inner_texts()
    assert service.rows("select count(*) from response") == [(2,)]


def test_two_tabs_and_a_double_click(serve: Callable, visit: Callable) -> None:
    bot = FakeBot()
    service = serve(bot)
    one = visit(service.url)
    talk(one, "one")
    two = visit(one.url, beside=one)
    talk(two, "from the second tab")
    box = one.get_by_label("Message", exact=True)
    box.fill("from the first tab")
    box.press("Enter")
    one.get_by_text("went on in another window").wait_for()
    assert box.input_value() == "from the first tab"
    assert len(live_turns(service)) == 4
    one.reload()
    one.get_by_label("Message", exact=True).fill("now")
    one.get_by_role("button", name="Send").dblclick()
    one.locator(".turn.reply:not(.pending)").nth(2).wait_for()
    assert len(live_turns(service)) == 6
    visit.complaints.clear()  # type: ignore[attr-defined]  # the 409


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_half_typed_message_outlives_a_reload(serve: Callable, visit: Callable, language: str) -> None:
    words = WORDS[language]
    bot = FakeBot()
    service = serve(bot)
    page = visit(service.url, language=language)
    box = page.get_by_label(words["message"], exact=True)
    drafts = "Object.values(sessionStorage)"
    box.fill("half of")
    page.reload()
    assert box.input_value() == "half of"
    bot.gate = threading.Event()
    box.fill("the first")
    box.press("Enter")
    assert bot.began.wait(10)
    assert page.evaluate(drafts) == []
    box.fill("typed while it comes")
    bot.gate.set()
    page.locator(".turn.reply:not(.pending)").wait_for()
    page.reload()  # the conversation has its address by now
    assert box.input_value() == "typed while it comes"
    first = page.url
    page.goto(service.url)  # another conversation, another draft
    assert box.input_value() == ""
    box.fill("a new one")
    page.goto(first)
    assert box.input_value() == "typed while it comes"
    page.get_by_label(words["private"]).check()
    page.get_by_text(words["private_on"]).last.wait_for()
    assert page.evaluate(drafts) == ["a new one"]
    box.fill("nothing of this is kept")
    assert page.evaluate(drafts) == ["a new one"]
    page.reload()
    assert box.input_value() == ""
    page.get_by_label(words["private"]).uncheck()
    page.get_by_text(words["private_off"]).last.wait_for()
    box.fill("kept again")
    assert sorted(page.evaluate(drafts)) == ["a new one", "kept again"]
    if language == "en":  # what is deleted is forgotten here, too
        page.get_by_role("button", name=f"{words['delete']}: the first").click()
        page.locator(".history li", has_text="the first").wait_for(state="detached")
        assert page.evaluate(drafts) == ["a new one"]


def test_a_message_that_was_not_sent_is_kept_and_one_that_was_is_not(serve: Callable, visit: Callable) -> None:
    service = serve(FakeBot())
    page = visit(service.url)
    talk(page, "one")
    page.reload()
    box = page.get_by_label("Message", exact=True)
    assert box.input_value() == ""
    page.route("**/chat", lambda route: route.abort())
    box.fill("two")
    box.press("Enter")
    page.get_by_role("alert").filter(has_text=WORDS["en"]["unreachable"]).wait_for()
    page.unroute("**/chat")
    page.reload()
    assert box.input_value() == "two"
    visit.complaints.clear()  # type: ignore[attr-defined]  # the broken connection


def test_a_double_click_without_script_counts_once(serve: Callable, visit: Callable) -> None:
    service = serve(FakeBot(seconds=0.2))
    page = visit(service.url, script=False)
    page.get_by_label("Message", exact=True).fill("one")
    page.get_by_role("button", name="Send").dblclick()
    page.locator(".turn.reply").wait_for()
    assert len(live_turns(service)) == 2
    page.locator(".turn.user").get_by_text("Edit").click()
    page.locator(".turn.user textarea").fill("uno")
    page.get_by_role("button", name="Send again").click()
    page.locator(".turn.user .text", has_text="uno").wait_for()
    page.get_by_role("button", name="Another reply").click()
    page.wait_for_load_state()
    assert live_turns(service)[0] == (0, "uno")
    assert page.locator(".log .turn").count() == 2


def test_the_list_on_a_phone(serve: Callable, visit: Callable, violations: Callable, screenshots: Path) -> None:
    page = visit(serve(FakeBot()).url, width=375)
    talk(page, "one")
    page.reload()
    page.get_by_role("link", name="Conversations").click()
    page.get_by_role("link", name="one", exact=True).wait_for()
    page.screenshot(path=screenshots / "chat-list-phone.png")
    assert fits(page)
    assert violations(page) == []
    page.get_by_role("link", name="Close").click()
    assert not page.locator(".history").is_visible()


def test_the_colours_can_be_switched(serve: Callable, visit: Callable) -> None:
    page = visit(serve(FakeBot()).url, color_scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(250, 248, 244)"
    page.get_by_role("link", name="Dark colours").click()
    assert page.evaluate(paper) == "rgb(23, 25, 22)"
    page.reload()
    assert page.evaluate(paper) == "rgb(23, 25, 22)"
    page.get_by_role("link", name="Light colours").click()
    assert page.evaluate(paper) == "rgb(250, 248, 244)"
