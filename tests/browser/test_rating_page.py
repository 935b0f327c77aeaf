"""Judging in a real browser: join, agree, judge by mouse and keys, skip, flag; what goes wrong is said."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.pages.words import words_of
from tests.app.fakes import FakeBot
from tests.app.people import HUMAN, OTHER, Json, Owner
from tests.browser.conftest import CROSS, fits
from tests.browser.real import RealService

pytestmark = pytest.mark.browser

WORDS = {language: words_of("rating", language) for language in ("en", "zh")}
EVIL = "<img src=x onerror=document.title='owned'><b>"


@pytest.fixture
def study(serve: Callable) -> Iterator[Callable[..., Any]]:
    """Give a function that starts a study and returns it with its service."""
    clients = []

    def study(kind: str = "pair", **more: Any) -> tuple[Owner, Any]:
        service = serve(FakeBot())
        client = httpx.Client(base_url=service.url)
        clients.append(client)
        return Owner(client).running(kind, **more), service  # type: ignore[arg-type]  # speaks as a TestClient does

    yield study
    for client in clients:
        client.close()


def enter(visit: Callable, owner: Owner, service: Any, **options: Any) -> Any:
    """Follow a new invitation and agree."""
    page = visit(f"{service.url}/rate/join/{owner.invite()}", **options)
    page.locator("form[action$=consent] button").click()
    page.locator(".verdict").wait_for()
    return page


def judgements(service: Any, study: str = "s") -> list[tuple[object, ...]]:
    return list(
        service.rows(
            "select judgement.kind, dimension, choice, judgement.value from judgement"
            " join assignment on assignment.id = judgement.assignment_id join item on item.id = assignment.item_id"
            f" join study on study.id = item.study_id where study.slug = '{study}' order by judgement.id"
        )
    )


ASKED = {
    "en": [{"turns": ["hello"], "reply": "hi"}, {"turns": ["bye"], "reply": "good bye"}],
    "zh": [{"turns": ["你好"], "reply": "你好，你好吗？"}, {"turns": ["你好", "你好吗？", "我很好"], "reply": "好"}],
}


@CROSS
@pytest.mark.parametrize("kind", ["pair", "scale", "turing"])
def test_join_agree_and_judge_by_keys(
    real: RealService,
    visit: Callable,
    violations: Callable,
    screenshots: Path,
    language: str,
    width: int,
    kind: str,
) -> None:
    words = WORDS[language]
    name = f"rate-{kind}-{language}-{width}"
    systems: list[Json] = [HUMAN, {"kind": "model", "model": "recurrent", "temperature": 1.0}]
    instructions = {"en": "Be kind, and be quick.", "zh": "请公正评判，不必多想。"}[language] if kind == "pair" else ""
    with httpx.Client(base_url=real.url) as client:
        owner = Owner(client, name).running(  # type: ignore[arg-type]  # speaks as a TestClient does
            kind, systems=systems, n=ASKED[language], k=2, instructions=instructions
        )
        invitation = owner.invite()
    page = visit(f"{real.url}/rate/join/{invitation}", width=width, language=language)
    assert page.url == f"{real.url}/rate/{name}"
    page.screenshot(path=screenshots / f"{name}-consent.png")
    assert fits(page)
    assert violations(page) == []
    page.get_by_role("button", name=words["agree"]).click()
    page.get_by_role("heading", name=words[f"{kind}_task"]).wait_for()
    page.screenshot(path=screenshots / f"{name}.png", full_page=True)
    assert fits(page)
    assert violations(page) == []
    keys = {"pair": ["1", "9"], "turing": ["1", "2"], "scale": ["345123"] * 2}[kind]
    for number, key in enumerate(keys):
        assert page.get_by_text(words["progress"].format(judged=number, remaining=2 - number)).is_visible()
        lease = page.locator(".verdict [name=lease]").input_value()
        for one in key:
            page.keyboard.press(one)
        if kind == "scale":
            page.keyboard.press("Enter")
        page.wait_for_url(f"**?after={lease}")
    page.get_by_role("heading", name=words["done"]).wait_for()
    page.screenshot(path=screenshots / f"{name}-done.png")
    assert violations(page) == []
    rows = judgements(real, name)
    if kind == "scale":
        assert [row[3] for row in rows] == [3, 4, 5, 1, 2, 3] * 2
    elif kind == "turing":
        assert [row[2] for row in rows] == ["human", "machine"]
    else:
        assert rows[0][2] in ("a", "b")
        assert [row[2] for row in rows[1:]] == ["both_bad"]
    rater = (
        "from assignment join item on item.id = assignment.item_id join study on study.id = item.study_id"
        f" join rater on rater.id = assignment.rater_id where study.slug = '{name}'"
    )
    assert real.rows(f"select distinct state, consent_version {rater}") == [("done", "1")]
    dwelt = f"select count(*) from judgement where dwell_ms is null and assignment_id in (select assignment.id {rater})"
    assert real.rows(dwelt) == [(0,)]


def test_without_script_a_form_does_it_all(study: Callable, visit: Callable, screenshots: Path) -> None:
    words = WORDS["en"]
    owner, service = study("scale", n=3)
    page = enter(visit, owner, service, script=False, width=375)
    page.get_by_text(words["flag_open"], exact=True).click()
    page.get_by_label(words["flag_why"]).select_option("broken")
    page.get_by_role("button", name=words["flag"]).click()
    page.get_by_text(words["notice_was_flagged"]).wait_for()
    page.get_by_text(words["skip_open"], exact=True).click()
    page.get_by_role("button", name=words["skip"]).click()
    page.get_by_text(words["notice_was_skipped"]).wait_for()
    for question in page.locator(".question").all():
        question.get_by_label("4").check(force=True)
    page.get_by_label(words["comment"]).fill(EVIL)
    page.screenshot(path=screenshots / "rate-without-script.png", full_page=True)
    page.get_by_role("button", name=words["submit"]).click()
    page.get_by_text(words["stored"]).wait_for()
    assert [row[3] for row in judgements(service)] == [4] * 6
    assert service.rows("select comment from judgement where comment is not null") == [(EVIL,)]
    states = service.rows("select state, flag, skip_reason from assignment order by id")
    assert states == [("skipped", "broken", "cannot_decide"), ("done", None, None), ("leased", None, None)]


def test_a_reveal_and_no_second_thoughts_after_it(study: Callable, visit: Callable, screenshots: Path) -> None:
    words = WORDS["en"]
    owner, service = study("pair", n=2, reveal=True)
    page = enter(visit, owner, service)
    lease = page.locator(".verdict [name=lease]").input_value()
    second = visit(f"{service.url}/rate/s", beside=page)
    assert second.locator(".verdict [name=lease]").input_value() == lease  # two tabs hold the same item
    page.get_by_role("button", name=words["choice_left"]).dblclick()
    page.get_by_text(words["revealed"]).wait_for()
    assert sorted(page.locator(".whose strong").all_inner_texts()) == ["human", "other"]
    page.screenshot(path=screenshots / "rate-reveal.png")
    page.reload()
    page.get_by_text(words["revealed"]).wait_for()
    before = judgements(service)
    assert len(before) == 1
    second.get_by_role("button", name=words["choice_both_bad"]).click()
    second.get_by_text(words["notice_already_revealed"]).wait_for()
    page.go_back()
    page.locator(".verdict").wait_for()
    assert page.locator(".verdict [name=lease]").input_value() != lease  # back leads to what is to be done now
    assert judgements(service) == before


def test_an_expired_lease_is_said_and_not_counted(study: Callable, visit: Callable) -> None:
    words = WORDS["en"]
    owner, service = study("pair", n=1, k=1, lease_seconds=1)
    slow = enter(visit, owner, service)
    slow.get_by_text(words["clock_over"]).wait_for()
    time.sleep(0.2)
    quick = enter(visit, owner, service)
    quick.keyboard.press("2")
    quick.get_by_role("heading", name=words["done"]).wait_for()
    slow.keyboard.press("1")
    slow.get_by_text(words["notice_lease_expired"]).wait_for()
    assert len(judgements(service)) == 1


def test_late_but_nobody_else_came_counts(study: Callable, visit: Callable) -> None:
    owner, service = study("pair", n=1, k=1, lease_seconds=1)
    page = enter(visit, owner, service)
    page.get_by_text(WORDS["en"]["clock_over"]).wait_for()
    time.sleep(0.2)
    page.keyboard.press("1")
    page.get_by_role("heading", name=WORDS["en"]["done"]).wait_for()
    assert len(judgements(service)) == 1


def test_waiting_closed_foreign_and_full(study: Callable, visit: Callable, violations: Callable) -> None:
    words = WORDS["en"]
    owner, service = study("pair", n=1, k=1)
    one = enter(visit, owner, service)
    two = visit(f"{service.url}/rate/join/{owner.invite()}")
    two.get_by_role("button", name=words["agree"]).click()
    two.get_by_role("heading", name=words["wait"]).wait_for()
    assert violations(two) == []
    owner.post("close")
    one.keyboard.press("1")
    one.get_by_role("heading", name=words["closed"]).wait_for()
    assert judgements(service) == []
    stranger = visit(f"{service.url}/rate/s")
    assert stranger.get_by_role("heading", name=words["outside"]).is_visible()
    assert violations(stranger) == []
    assert visit.complaints != []  # type: ignore[attr-defined]  # the 401
    visit.complaints.clear()  # type: ignore[attr-defined]


def test_text_stays_text(study: Callable, visit: Callable) -> None:
    contexts = [{"turns": [EVIL], "reply": EVIL + "1", "replies": {"other": EVIL + "2"}}]
    service = study("pair", n=1)[1]
    owner = Owner(httpx.Client(base_url=service.url), "evil")  # type: ignore[arg-type]
    body = {
        "slug": "evil",
        "title": EVIL,
        "protocol": {"kind": "pair", "instructions": EVIL, "consent": {"text": EVIL}},
    }
    assert owner.client.post("/v1/studies", json=body).status_code == 201
    assert owner.add([HUMAN, OTHER], contexts).status_code == 201
    assert owner.post("start").status_code == 200
    page = visit(f"{service.url}/rate/join/{owner.invite()}")
    assert page.get_by_text(EVIL).count() == 3  # title, instructions, consent text
    page.get_by_role("button", name=WORDS["en"]["agree"]).click()
    page.locator(".verdict").wait_for()
    assert page.locator(".context .text").inner_text() == EVIL
    assert sorted(page.locator(".replies .text").all_inner_texts()) == [EVIL + "1", EVIL + "2"]
    assert page.title() != "owned"
    assert page.locator("img").count() == 1
    owner.client.close()  # type: ignore[attr-defined]
