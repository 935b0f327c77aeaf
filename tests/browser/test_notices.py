"""Whatever a page can say of what went wrong, in both languages: that it is said, and to everybody (axe-core)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.pages.words import words_of
from tests.app.fakes import FakeBot
from tests.app.people import Owner
from tests.browser.conftest import fits

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("language", ["en", "zh"])]


def test_notices_of_judging(
    serve: Callable, visit: Callable, violations: Callable, screenshots: Path, language: str
) -> None:
    words = words_of("rating", language)
    service = serve(FakeBot())
    with httpx.Client(base_url=service.url) as client:
        owner = Owner(client).running("pair", n=3)  # type: ignore[arg-type]  # speaks as a TestClient does
        page = visit(f"{service.url}/rate/join/{owner.invite()}", language=language, width=375)
        full = owner.invite(max_raters=1)
        page.get_by_role("button", name=words["agree"]).click()
        page.locator(".verdict").wait_for()
        notices = [name.removeprefix("notice_") for name in words if name.startswith("notice_")]
        for name in [*notices, "something-unheard-of"]:
            page.goto(f"{service.url}/rate/s?notice={name}")
            told = words.get(f"notice_{name}", words["notice_other"])
            assert page.locator(".notice").inner_text() == told
            assert fits(page)
        assert violations(page) == []
        page.screenshot(path=screenshots / f"notice-rating-{language}.png")
        page.get_by_text(words["skip_open"], exact=True).click()
        page.get_by_text(words["flag_open"], exact=True).click()
        page.screenshot(path=screenshots / f"rating-others-{language}.png", full_page=True)
        assert fits(page)
        assert violations(page) == []
        taken = visit(f"{service.url}/rate/join/{full}", language=language)
        late = visit(f"{service.url}/rate/join/{full}", language=language)
        taken.get_by_role("button", name=words["agree"]).click()
        taken.locator(".verdict").wait_for()  # else the second could be the first to be let in
        late.get_by_role("button", name=words["agree"]).click()
        late.get_by_text(words["notice_invitation_full"]).wait_for()
        assert violations(late) == []
    stranger = visit(f"{service.url}/rate/s", language=language)
    assert stranger.get_by_role("heading", name=words["outside"]).is_visible()
    stranger.screenshot(path=screenshots / f"rating-outside-{language}.png")
    assert violations(stranger) == []
    visit.complaints.clear()  # type: ignore[attr-defined]  # the 401


def test_errors_have_a_page(
    serve: Callable, visit: Callable, violations: Callable, screenshots: Path, language: str
) -> None:
    service = serve(FakeBot())
    page = visit(service.url, language=language, width=375)
    told = {
        "/nowhere": {"en": "there is nothing at this address", "zh": "这个地址没有内容"},
        "/?conversation=none": {"en": "this conversation is not stored here", "zh": "这里没有保存这个对话"},
        "/board?study=none": {"en": "there is no study 'none'", "zh": "没有这个研究"},
        "/studies/none": {"en": "there is no study 'none'", "zh": "没有这个研究"},
        "/models/none": {"en": "none", "zh": "这个模型没有加载"},
        "/rate/none": {"en": "there is no study 'none'", "zh": "没有这个研究"},
        "/rate/join/none": {"en": "this invitation does not exist", "zh": "没有这个邀请"},
        "/?best=perhaps": {"en": "best: ", "zh": "有一项填写得不对"},
    }
    for path, said in told.items():
        page.goto(f"{service.url}{path}")
        assert said[language] in page.locator("main").inner_text(), path
        assert page.get_by_role("link", name=words_of("errors", language)["back"]).is_visible()
        assert fits(page)
    page.screenshot(path=screenshots / f"error-{language}.png")
    assert violations(page) == []
    visit.complaints.clear()  # type: ignore[attr-defined]  # the 400s and 404s


def test_notices_of_the_chat(
    serve: Callable, visit: Callable, violations: Callable, screenshots: Path, language: str
) -> None:
    words = words_of("chat", language)
    page = visit(serve(FakeBot()).url, language=language, width=375)
    box = page.get_by_label(words["message"], exact=True)

    def send(text: str, told: str) -> None:
        box.fill(text)
        box.press("Enter")
        page.get_by_role("alert").get_by_text(told).wait_for()
        assert box.input_value() == text  # nothing that was typed is lost
        assert fits(page)
        assert violations(page) == []

    send("break down", {"en": "the model failed at this request", "zh": "模型处理这个请求时出错"}[language])
    page.screenshot(path=screenshots / f"chat-failed-{language}.png")
    page.route("**/chat", lambda route: route.abort())
    send("hello", words["unreachable"])
    page.unroute("**/chat")

    def cut(route: Any) -> None:
        whole = route.fetch()
        route.fulfill(status=200, content_type="text/event-stream", body=whole.body().split(b"\n\n")[0] + b"\n\n")

    page.route("**/chat", cut)
    send("hello", words["cut"])
    page.screenshot(path=screenshots / f"chat-cut-{language}.png")
    page.unroute("**/chat")
    box.press("Enter")
    page.locator(".turn.reply:not(.pending)").wait_for()
    page.get_by_label(words["private"]).check()
    page.get_by_role("main").get_by_text(words["private_on"]).first.wait_for()
    assert violations(page) == []
    visit.complaints.clear()  # type: ignore[attr-defined]  # the 500, the connections that broke


def test_notices_of_the_arena(
    serve: Callable, visit: Callable, violations: Callable, screenshots: Path, language: str
) -> None:
    words = words_of("arena", language)
    page = visit(f"{serve(FakeBot()).url}/arena", language=language, width=375)
    box = page.get_by_label(words["message"], exact=True)
    box.fill("break down")
    box.press("Enter")
    told = {"en": "the model failed at this request", "zh": "模型处理这个请求时出错"}[language]
    page.get_by_role("alert").get_by_text(told).wait_for()
    assert box.input_value() == "break down"
    page.screenshot(path=screenshots / f"arena-failed-{language}.png")
    assert fits(page)
    assert violations(page) == []
    names = ("lease_expired", "lease_not_found", "skipped", "already_judged", "already_revealed", "unheard-of")
    for name in names:
        page.goto(f"{page.url.split('?')[0]}?notice={name}")
        assert page.get_by_role("alert").inner_text() == words.get(f"notice_{name}", words["notice_other"])
    assert violations(page) == []
    visit.complaints.clear()  # type: ignore[attr-defined]  # the 500


def test_notices_of_batches(
    serve: Callable, visit: Callable, violations: Callable, screenshots: Path, tmp_path: Path, language: str
) -> None:
    words = words_of("batches", language)
    service = serve(FakeBot())
    page = visit(f"{service.url}/batches", language=language, width=375)
    twice = json.dumps({"custom_id": "<b>", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "fake"}})
    files = {"empty": "", "wrong": f"{twice}\n{twice}"}
    for name, content in files.items():
        (tmp_path / f"{name}.jsonl").write_text(content, encoding="utf-8")
    page.locator("input[type=file]").set_input_files(tmp_path / "empty.jsonl")
    page.get_by_role("button", name=words["send"], exact=True).click()
    page.get_by_role("alert").get_by_text({"en": "file: is empty", "zh": "文件是空的"}[language]).wait_for()
    assert fits(page)
    assert violations(page) == []
    page.locator("input[type=file]").set_input_files(tmp_path / "wrong.jsonl")
    page.get_by_role("button", name=words["send"], exact=True).click()
    page.get_by_text(words["line"].format(line=2)).wait_for()
    page.screenshot(path=screenshots / f"batches-wrong-{language}.png", full_page=True)
    assert fits(page)
    assert violations(page) == []
    visit.complaints.clear()  # type: ignore[attr-defined]  # the 400
