"""The chat page in a real browser: talk, rate, reload; in both languages, wide and narrow, with and without script."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.pages.words import WORDS
from tests.app.fakes import FakeBot

pytestmark = pytest.mark.browser

SAYINGS = {
    "en": ["Hi! How was your weekend?", "Not bad! We went hiking, and then it rained all afternoon. You?"],
    "zh": ["你好！周末过得怎么样？", "还不错！我们去爬山了，结果下午一直下雨。你呢？"],
}
REPLIES = {
    "en": "It was good, thanks. I stayed at home with my cat and read a long book about whales.",
    "zh": "挺好的，谢谢。我和猫待在家里，读了一本关于鲸鱼的大书。",
}


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Give a function that opens a page and fails the test on any error in its console."""
    contexts = []
    complaints: list[str] = []

    def visit(url: str, *, width: int = 1280, height: int = 800, script: bool = True, **options: Any) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": height}, java_script_enabled=script, **options
        )
        contexts.append(context)
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.on("console", lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(url) else complaints.append(request.url))
        page.goto(url)
        return page

    visit.complaints = complaints  # type: ignore[attr-defined]
    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


def fits(page: Any) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.mark.parametrize(
    ("language", "width", "scheme"),
    [("en", 1280, "light"), ("en", 375, "dark"), ("zh", 1280, "dark"), ("zh", 375, "light")],
)
def test_talk_and_rate(
    serve: Callable, visit: Callable, screenshots: Path, language: str, width: int, scheme: str
) -> None:
    words = WORDS[language]
    bots = [
        FakeBot("demo-cseqgan", say=lambda request, choice: REPLIES[language]),
        FakeBot("demo-mle", say=lambda request, choice: "I don't know."),
    ]
    service = serve(*bots)
    page = visit(
        service.url,
        width=width,
        height=812 if width == 375 else 800,
        locale="zh-CN" if language == "zh" else "en-GB",
        color_scheme=scheme,
    )
    name = f"chat-{language}-{width}-{scheme}"
    assert page.get_by_role("heading", name=words["welcome"]).is_visible()
    assert fits(page)
    page.screenshot(path=screenshots / f"{name}-welcome.png")

    log = page.get_by_role("log")
    box = page.get_by_label(words["message"])
    for saying in SAYINGS[language]:
        box.fill(saying)
        box.press("Enter")
        log.get_by_text(saying).wait_for()
        page.locator(".turn.reply:not(.pending)").nth(SAYINGS[language].index(saying)).wait_for()
    assert log.get_by_text(REPLIES[language]).count() == 2
    assert box.input_value() == ""
    assert [request.turns[-1] for batch in bots[0].batches for request in batch] == SAYINGS[language]

    page.get_by_role("button", name=words["up"], exact=True).last.click()
    page.get_by_role("button", name=words["down"], exact=True).first.click()
    page.get_by_text(words["stored"]).wait_for(state="attached")
    page.wait_for_function("document.querySelectorAll('[aria-pressed=true]').length === 2")
    page.mouse.move(0, 0)
    page.screenshot(path=screenshots / f"{name}.png")
    assert fits(page)

    page.reload()  # the address has become the conversation's, and the thumbs come from the database
    assert page.get_by_role("log").get_by_text(REPLIES[language]).count() == 2
    assert page.locator(".log [aria-pressed=true]").count() == 2
    stored = service.rows(
        "select turn.position, turn.text, system.name, judgement.value from turn"
        " left join response on response.id = turn.response_id left join system on system.id = response.system_id"
        " left join judgement on judgement.response_id = response.id order by turn.position"
    )
    assert stored == [
        (0, SAYINGS[language][0], None, None),
        (1, REPLIES[language], "demo-cseqgan", -1),
        (2, SAYINGS[language][1], None, None),
        (3, REPLIES[language], "demo-cseqgan", 1),
    ]


def test_without_script(serve: Callable, visit: Callable, screenshots: Path) -> None:
    words = WORDS["en"]
    bot = FakeBot("demo-cseqgan", say=lambda request, choice: f"reply {len(request.turns)}")
    service = serve(FakeBot("demo-mle"), bot)
    page = visit(service.url, script=False, width=375, height=812)
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
    page.get_by_role("link", name=words["new"]).click()
    page.get_by_role("heading", name=words["welcome"]).wait_for()


def test_the_language_can_be_changed_in_mid_conversation(serve: Callable, visit: Callable) -> None:
    page = visit(serve(FakeBot()).url, locale="en-GB")
    page.get_by_label("Message").fill("hello")
    page.get_by_role("button", name="Send").click()
    page.locator(".turn.reply:not(.pending)").wait_for()
    page.get_by_role("link", name="中文").click()
    page.get_by_role("button", name=WORDS["zh"]["send"]).wait_for()
    assert page.get_by_role("log").get_by_text("hello", exact=True).is_visible()
    assert page.locator("html").get_attribute("lang") == "zh-Hans"


def test_while_the_model_works_and_when_it_fails(serve: Callable, visit: Callable, screenshots: Path) -> None:
    bot = FakeBot(gate=threading.Event())
    page = visit(serve(bot).url)
    box = page.get_by_label("Message")
    box.fill("break down")
    box.press("Enter")
    page.locator(".turn.reply.pending").wait_for()
    assert page.get_by_role("button", name="Send").is_disabled()
    page.screenshot(path=screenshots / "chat-pending.png")
    bot.gate.set()
    page.get_by_role("alert").wait_for()
    assert "the model failed" in page.get_by_role("alert").inner_text()
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


def test_pages_without_a_model_and_with_an_error(serve: Callable, visit: Callable, screenshots: Path) -> None:
    service = serve()
    page = visit(service.url, width=375)
    assert page.get_by_text("rejoinder serve --models").is_visible()
    assert fits(page)
    page.screenshot(path=screenshots / "no-model.png")
    page.goto(f"{service.url}/?conversation=none&lang=zh")
    assert page.get_by_role("link", name=WORDS["zh"]["back"]).is_visible()
    page.screenshot(path=screenshots / "error.png")
    visit.complaints.clear()  # type: ignore[attr-defined]  # the 404 itself
