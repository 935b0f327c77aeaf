"""Batches in a real browser: upload, watch, download; what is no file of requests; a name that is no markup."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.pages.words import words_of
from tests.app.fakes import FakeBot
from tests.browser.conftest import fits

pytestmark = pytest.mark.browser

WORDS = {language: words_of("batches", language) for language in ("en", "zh")}


def line(number: int, model: str = "fake") -> str:
    body = {"model": model, "messages": [{"role": "user", "content": f"hello {number}"}]}
    return json.dumps({"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions", "body": body})


@pytest.mark.parametrize(("language", "width"), [("en", 1280), ("en", 375), ("zh", 1280), ("zh", 375)])
def test_upload_watch_and_download(
    serve: Callable,
    visit: Callable,
    violations: Callable,
    screenshots: Path,
    tmp_path: Path,
    language: str,
    width: int,
) -> None:
    words = WORDS[language]
    file = tmp_path / "<img src=x onerror=alert(1)>.jsonl"
    file.write_text("\n".join([*(line(i) for i in range(3)), line(3, "none")]), encoding="utf-8")
    service = serve(FakeBot())
    page = visit(f"{service.url}/batches", width=width, locale="zh-CN" if language == "zh" else "en-GB")
    assert page.get_by_text(words["empty"]).is_visible()
    assert fits(page)
    assert violations(page) == []
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name=words["send"]).click()
    page.get_by_text(words["counts"].format(completed=3, failed=1, total=4)).wait_for()  # it looks again by itself
    page.get_by_text(words["status_completed"]).wait_for()
    assert page.get_by_role("rowheader", name=file.name).is_visible()
    assert page.locator("img").count() == 1
    page.screenshot(path=screenshots / f"batches-{language}-{width}.png")
    assert fits(page)
    assert violations(page) == []
    with page.expect_download() as download:
        page.get_by_role("link", name=words["download"]).first.click()
    answers = [json.loads(one) for one in Path(download.value.path()).read_text(encoding="utf-8").splitlines()]
    assert [one["custom_id"] for one in answers] == ["0", "1", "2"]
    assert service.rows("select status, total, completed, failed from batch") == [("completed", 4, 3, 1)]


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
