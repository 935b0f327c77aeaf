"""The board in a real browser: with nothing, with thumbs, with votes on pairs, with scales, with human-or-machine."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import httpx
import pytest

from app.pages.words import words_of
from tests.app.fakes import FakeBot
from tests.app.people import HUMAN, Json, Owner
from tests.browser.conftest import CROSS, fits
from tests.browser.real import RealService

pytestmark = pytest.mark.browser

WORDS = {language: words_of("board", language) for language in ("en", "zh")}


CHINESE = [{"turns": [f"第 {i} 个问题？"], "reply": f"真人的回答 {i}"} for i in range(18)]


@pytest.fixture(scope="module")
def judged(real: RealService) -> Callable[[str], str]:
    """Give a function that has three raters judge a whole study of a kind, and returns its slug."""
    done: dict[str, str] = {}

    def judged(kind: str) -> str:
        if kind not in done:
            with httpx.Client(base_url=real.url, timeout=30) as client:
                done[kind] = judge_all(Owner(client, f"board-{kind}"), kind)  # type: ignore[arg-type]
        return done[kind]

    return judged


def judge_all(owner: Owner, kind: str) -> str:
    lenient = {"max_fast_share": None, "max_one_side_share": None, "max_one_value_share": None}
    systems: list[Json] = [HUMAN, {"kind": "model", "model": "recurrent"}, {"kind": "model", "model": "transformer"}]
    owner.running(kind, systems=systems, n=CHINESE, k=3, quality=lenient, aa_rate=0.2 if kind == "pair" else 0.0)
    rng = Random(5)
    for _ in range(3):
        rater = owner.rater()
        while (task := rater.next()["task"]) is not None:
            is_human = ["真人" in reply["text"] for reply in task["replies"]]
            good = rng.random() < 0.75
            if kind == "scale":
                scores = {one["name"]: 4 + good if is_human[0] else 2 + good for one in task["dimensions"]}
                given = rater.post("judgements", {"lease": task["lease"], "scores": scores})
            elif kind == "turing":
                given = rater.judge(task, "human" if is_human[0] == good else "machine")
            else:
                given = rater.judge(task, "left" if is_human[0] == good else "right")
            assert given.status_code == 201
    return owner.slug


@CROSS
@pytest.mark.parametrize("kind", ["pair", "scale", "turing"])
def test_a_judged_study(
    real: RealService,
    judged: Callable[[str], str],
    visit: Callable,
    violations: Callable,
    screenshots: Path,
    language: str,
    width: int,
    kind: str,
) -> None:
    words = WORDS[language]
    slug = judged(kind)
    page = visit(f"{real.url}/board?study={slug}", width=width, language=language)
    results = httpx.get(f"{real.url}/v1/studies/{slug}/results", timeout=30).json()
    assert page.locator("table").first.locator("tbody tr").count() == len(results["systems"]) == 3
    forest = words["forest"].format(measure=words[f"measure_{results['measure']}"])
    assert page.get_by_role("img", name=forest).locator("circle").count() == 3
    best = next(one for one in results["systems"] if one["rank"] == 1)
    assert page.locator("tbody tr").first.inner_text().startswith("1")
    assert (words["human"] if best["kind"] == "human" else best["name"]) in page.locator("tbody").first.inner_text()
    assert page.get_by_role("heading", name=words["trust"]).is_visible()
    if kind == "pair":
        assert page.locator(".matrix td.self").count() == 3
        missing = results["pairs"][0]["missing"]["60%"]
        assert page.get_by_text(str(missing), exact=True).first.is_visible()
        assert page.get_by_text(words["side"]).is_visible()
        assert page.get_by_text(words["length"]).is_visible()
        assert page.get_by_text(words["aa"]).is_visible()
        # Whether anybody met an A/A pair is a matter of chance: six contexts, each met once.
        assert page.get_by_text(words["aa_none"]).count() == (results["aa"] is None)
    assert page.get_by_text(words["agreement"]).first.is_visible()
    page.screenshot(path=screenshots / f"board-{kind}-{language}-{width}.png", full_page=True)
    assert fits(page)
    assert violations(page) == []
    in_study = f"select id from item where study_id = (select id from study where slug = '{slug}')"
    of_study = "select count(*) from judgement where assignment_id in (select id from assignment where item_id in"
    [(votes,)] = real.rows(f"{of_study} ({in_study} and purpose = 'normal'))")
    # Of pairs a few less: who judged a context in an A/A item does not meet it again.
    assert votes == 54 * 6 if kind == "scale" else 40 < votes <= 54
    assert page.get_by_text(words["lead"].format(votes=votes)).is_visible()
    stored = real.rows("select count(*) from analysis_run")
    page.reload()
    assert real.rows("select count(*) from analysis_run") == stored  # an analysis is kept, not made at every visit
    with page.expect_download() as download:
        page.get_by_role("link", name="csv").first.click()
    exported = Path(download.value.path()).read_text(encoding="utf-8")
    assert not [rater for (rater,) in real.rows("select public_id from rater") if str(rater) in exported]
    assert real.rows(f"{of_study} ({in_study}))") == [(len(exported.splitlines()) - 1,)]
    page.goto(f"{real.url}/board")
    tabs = page.get_by_role("navigation", name=words["title"]).get_by_role("link")
    assert tabs.count() == 1 + len(real.rows("select slug from study where status <> 'draft'"))
    page.screenshot(path=screenshots / f"board-{language}-{width}.png", full_page=True)
    assert fits(page)


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


def test_without_script_the_board_is_whole(real: RealService, judged: Callable[[str], str], visit: Callable) -> None:
    slug = judged("pair")
    page = visit(f"{real.url}/board", script=False, width=375)
    page.locator(f'.tabs a[href$="={slug}"]').click()
    page.locator(".matrix").wait_for()
    assert page.locator("svg.forest circle").count() == 3
    with page.expect_download() as download:
        page.get_by_role("link", name="jsonl").first.click()
    assert len(Path(download.value.path()).read_text(encoding="utf-8").splitlines()) == 54


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_a_reader_must_mind_is_said_in_their_language(
    serve: Callable, visit: Callable, violations: Callable, screenshots: Path, language: str
) -> None:
    words = WORDS[language]
    service = serve(FakeBot())
    with httpx.Client(base_url=service.url) as client:
        owner = Owner(client).running("pair", n=4, aa_rate=0.0, k=1)  # type: ignore[arg-type]
        rater = owner.rater()
        while (task := rater.next()["task"]) is not None:
            rater.judge(task, "left" if "human" in task["replies"][0]["text"] else "right")
    page = visit(f"{service.url}/board?study=s", language=language)
    told = page.locator(".notice.mild").inner_text()
    assert words["warning_pair_unbeaten"].format(name=words["human"]) in told or words["warnings"] in told
    assert page.get_by_text(words["agreement_none"]).is_visible()
    assert language == "en" or "was not" not in page.locator("main").inner_text()
    page.screenshot(path=screenshots / f"board-warned-{language}.png", full_page=True)
    assert violations(page) == []


def test_an_unknown_study_is_said(serve: Callable, visit: Callable) -> None:
    page = visit(f"{serve(FakeBot()).url}/board?study=none")
    assert page.get_by_text("there is no study 'none'").is_visible()
    visit.complaints.clear()  # type: ignore[attr-defined]  # the 404
