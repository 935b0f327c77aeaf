"""The board in a real browser: with nothing, with thumbs, with votes on pairs, with scales, with human-or-machine."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from app.pages.words import words_of
from tests.app.fakes import FakeBot
from tests.app.people import FAKE, HUMAN, OTHER, Owner
from tests.browser.conftest import fits

pytestmark = pytest.mark.browser

WORDS = {language: words_of("board", language) for language in ("en", "zh")}


@pytest.fixture
def judged(serve: Callable) -> Iterator[Callable[..., Any]]:
    """Give a function that lets three raters judge a whole study of a kind."""
    clients = []

    def judged(kind: str) -> Any:
        service = serve(FakeBot())
        client = httpx.Client(base_url=service.url)
        clients.append(client)
        lenient = {"max_fast_share": None, "max_one_side_share": None, "max_one_value_share": None}
        systems = [HUMAN, OTHER, FAKE]
        owner = Owner(client).running(kind, systems=systems, n=18, k=3, quality=lenient)  # type: ignore[arg-type]
        rng = Random(5)
        for _ in range(3):
            rater = owner.rater()
            while (task := rater.next()["task"]) is not None:
                is_human = ["human" in reply["text"] for reply in task["replies"]]
                good = rng.random() < 0.75
                if kind == "scale":
                    scores = {one["name"]: 4 + good if is_human[0] else 2 + good for one in task["dimensions"]}
                    given = rater.post("judgements", {"lease": task["lease"], "scores": scores})
                elif kind == "turing":
                    given = rater.judge(task, "human" if is_human[0] == good else "machine")
                else:
                    given = rater.judge(task, "left" if is_human[0] == good else "right")
                assert given.status_code == 201
        return service

    yield judged
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    ("language", "width", "kind"),
    [("en", 1280, "pair"), ("zh", 375, "pair"), ("zh", 1280, "turing"), ("en", 375, "scale")],
)
def test_a_judged_study(
    judged: Callable, visit: Callable, violations: Callable, screenshots: Path, language: str, width: int, kind: str
) -> None:
    words = WORDS[language]
    service = judged(kind)
    locale = "zh-CN" if language == "zh" else "en-GB"
    page = visit(f"{service.url}/board?study=s", width=width, locale=locale)
    results = httpx.get(f"{service.url}/v1/studies/s/results").json()
    assert page.locator("table").first.locator("tbody tr").count() == len(results["systems"]) == 3
    assert (
        page.get_by_role("img", name=words["forest"].format(measure=words[f"measure_{results['measure']}"]))
        .locator("circle")
        .count()
        == 3
    )
    best = next(one for one in results["systems"] if one["rank"] == 1)
    assert page.locator("tbody tr").first.inner_text().startswith("1")
    assert (words["human"] if best["kind"] == "human" else best["name"]) in page.locator("tbody").first.inner_text()
    assert page.get_by_role("heading", name=words["trust"]).is_visible()
    if kind == "pair":
        assert page.locator(".matrix td.self").count() == 3
        missing = results["pairs"][0]["missing"]["60%"]
        assert page.get_by_text(str(missing), exact=True).first.is_visible()
    page.screenshot(path=screenshots / f"board-{kind}-{language}-{width}.png", full_page=True)
    assert fits(page)
    assert violations(page) == []
    stored = service.rows("select count(*) from analysis_run")
    page.reload()
    assert service.rows("select count(*) from analysis_run") == stored  # an analysis is kept, not made at every visit
    with page.expect_download() as download:
        page.get_by_role("link", name="csv").first.click()
    exported = Path(download.value.path()).read_text(encoding="utf-8")
    assert not [rater for (rater,) in service.rows("select public_id from rater") if str(rater) in exported]
    assert len(exported.splitlines()) > 8
    page.goto(f"{service.url}/board")
    assert page.get_by_role("navigation", name=words["title"]).get_by_role("link").count() == 2


def test_nothing_judged_yet_and_then_a_thumb(
    serve: Callable, visit: Callable, violations: Callable, screenshots: Path
) -> None:
    service = serve(FakeBot("m<b>"))
    page = visit(f"{service.url}/board", width=375)
    assert page.get_by_role("heading", name=WORDS["en"]["empty_title"]).is_visible()
    page.screenshot(path=screenshots / "board-empty.png")
    assert violations(page) == []
    asked = {"model": "m<b>", "messages": [{"role": "user", "content": "hi"}]}
    reply = httpx.post(f"{service.url}/v1/chat/completions", json=asked).json()
    httpx.post(f"{service.url}/v1/ratings", json={"reply_id": reply["id"], "thumb": 1})
    page.reload()
    assert page.get_by_text("+1 −0").is_visible()
    assert page.get_by_role("rowheader", name="m<b>").is_visible()
    page.screenshot(path=screenshots / "board-thumb.png")


def test_an_unknown_study_is_said(serve: Callable, visit: Callable) -> None:
    page = visit(f"{serve(FakeBot()).url}/board?study=none")
    assert page.get_by_text("there is no study 'none'").is_visible()
    visit.complaints.clear()  # type: ignore[attr-defined]  # the 404
