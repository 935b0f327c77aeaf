"""Batches in a real browser: upload, watch, download; what is no file of requests; a name that is no markup."""

import json
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

WORDS = {language: words_of("batches", language) for language in ("en", "zh")}


def line(number: int, model: str = "fake") -> str:
    body = {"model": model, "messages": [{"role": "user", "content": f"hello {number}"}]}
    return json.dumps({"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions", "body": body})


@CROSS
def test_upload_watch_and_download(
    real: RealService,
    visit: Callable,
    violations: Callable,
    screenshots: Path,
    tmp_path: Path,
    language: str,
    width: int,
) -> None:
    words = WORDS[language]
    file = tmp_path / f"<img src=x onerror=alert({language}{width})>.jsonl"
    file.write_text("\n".join([*(line(i, "recurrent") for i in range(3)), line(3, "none")]), encoding="utf-8")
    page = visit(f"{real.url}/batches", width=width, language=language)
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name=words["send"], exact=True).click()
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=file.name))
    row.get_by_text(words["counts"].format(completed=3, failed=1, total=4)).wait_for()  # it looks again by itself
    row.get_by_text(words["status_completed"]).wait_for()
    assert page.locator("img").count() == 1
    page.screenshot(path=screenshots / f"batches-{language}-{width}.png")
    assert fits(page)
    assert violations(page) == []
    with page.expect_download() as download:
        row.get_by_role("link", name=words["download"]).first.click()
    answers = [json.loads(one) for one in Path(download.value.path()).read_text(encoding="utf-8").splitlines()]
    assert [one["custom_id"] for one in answers] == ["0", "1", "2"]
    mine = f"select id from stored_file where filename = '{file.name}'"
    counted = f"select status, total, completed, failed from batch where input_file_id in ({mine})"
    assert real.rows(counted) == [("completed", 4, 3, 1)]


@pytest.mark.parametrize("script", [True, False])
def test_a_file_that_is_sent_twice_begins_one_batch(
    serve: Callable, visit: Callable, tmp_path: Path, script: bool
) -> None:
    words = WORDS["en"]
    service = serve(FakeBot())
    file = tmp_path / "a.jsonl"
    file.write_text(line(0), encoding="utf-8")
    page = visit(f"{service.url}/batches", script=script)
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name=words["send"]).dblclick()
    page.get_by_role("rowheader", name="a.jsonl").wait_for()
    page.reload()
    assert page.get_by_role("rowheader", name="a.jsonl").count() == 1
    assert service.rows("select count(*) from batch") == [(1,)]
    assert service.rows("select count(*) from stored_file where filename = 'a.jsonl'") == [(1,)]
    page.go_back()
    page.wait_for_load_state()
    page.goto(f"{service.url}/batches")
    page.locator("input[type=file]").set_input_files(file)  # the same file once more, on purpose
    page.get_by_role("button", name=words["send"]).click()
    page.get_by_role("rowheader", name="a.jsonl").nth(1).wait_for()
    assert service.rows("select count(*) from batch") == [(2,)]


def test_stopped_in_two_tabs(serve: Callable, visit: Callable, tmp_path: Path) -> None:
    words = WORDS["en"]
    service = serve(FakeBot(gate=(gate := threading.Event())))
    file = tmp_path / "a.jsonl"
    file.write_text(line(0), encoding="utf-8")
    page = visit(f"{service.url}/batches")
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name=words["send"]).click()
    stop = words["cancel"]
    page.get_by_role("button", name=stop).wait_for()
    second = visit(f"{service.url}/batches", beside=page)
    page.get_by_role("button", name=stop).click()
    page.get_by_text(words["status_cancelled"]).or_(page.get_by_text(words["status_cancelling"])).wait_for()
    if second.get_by_role("button", name=stop).is_visible():  # it looks again by itself, and may know by now
        second.get_by_role("button", name=stop).dblclick()
    gate.set()
    for one in (page, second):
        one.get_by_text(words["status_cancelled"], exact=True).wait_for()
    assert service.rows("select status, completed from batch") == [("cancelled", 0)]
    visit.complaints.clear()  # type: ignore[attr-defined]  # the 409, where it had stopped by then


def test_without_script_and_what_is_no_file_of_requests(serve: Callable, visit: Callable, tmp_path: Path) -> None:
    service = serve(FakeBot())
    page: Any = visit(f"{service.url}/batches", script=False)
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    page.locator("input[type=file]").set_input_files(empty)
    page.get_by_role("button", name=WORDS["en"]["send"]).click()
    assert "file: is empty" in page.get_by_role("alert").inner_text()
    assert service.rows("select count(*) from batch") == [(0,)]
    visit.complaints.clear()  # type: ignore[attr-defined]  # the 400
