"""The models' pages in a real browser: a trained bundle in its run's directory, and what there is to do without one."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from app.pages.words import words_of
from tests.app.fakes import FakeBot
from tests.browser.conftest import CROSS, GOLDEN, fits
from tests.browser.real import RealService
from tests.browser.training_run import EVIL

pytestmark = pytest.mark.browser

CARD = (GOLDEN / "recurrent" / "README.md").read_text(encoding="utf-8").strip()
WORDS = {language: words_of("models", language) for language in ("en", "zh")}


@CROSS
def test_a_trained_bundle_in_its_run(
    real: RealService, visit: Callable, violations: Callable, screenshots: Path, language: str, width: int
) -> None:
    words, chat = WORDS[language], words_of("chat", language)
    page = visit(f"{real.url}/", width=width, language=language)
    page.get_by_label(chat["model"]).select_option("recurrent")
    page.get_by_label(chat["message"]).fill("hello")
    page.get_by_role("button", name=chat["send"], exact=True).click()
    page.locator(".turn.reply:not(.pending)").wait_for()
    page.get_by_role("button", name=chat["up"], exact=True).click()
    page.get_by_text(chat["stored"]).wait_for(state="attached")
    page.goto(f"{real.url}/models")
    page.get_by_role("link", name="recurrent").wait_for()
    [(digest, up, down)] = real.rows(
        "select weights_sha256, sum(value = 1), sum(value = -1) from judgement join response on response.id ="
        " judgement.response_id join system on system.id = response.system_id"
        " where judgement.kind = 'thumb' and system.name = 'recurrent'"
        " and json_extract(system.decoding, '$.best_of') is null"
        " and not exists (select 1 from judgement later where later.supersedes = judgement.id)"
        " group by system.id having max(judgement.id) = (select max(id) from judgement where kind = 'thumb')"
    )
    assert page.get_by_text(f"+{up} −{down}").first.is_visible()  # beside the weights that wrote it
    page.screenshot(path=screenshots / f"models-{language}-{width}.png", full_page=True)
    assert fits(page)
    assert violations(page) == []
    page.get_by_role("link", name="recurrent").click()
    page.get_by_role("img", name=words["curve_valid_nll"]).wait_for()
    assert page.get_by_role("img", name=words["curve_reward"]).is_visible()
    assert page.get_by_role("img", name=words["curve_d_accuracy"]).count() == 0  # not one finite number was logged
    assert page.get_by_role("img", name=words["quality_adver_suc"]).locator("circle").count() == 8
    page.screenshot(path=screenshots / f"model-{language}-{width}.png", full_page=True)
    assert fits(page)
    assert violations(page) == []
    page.get_by_label(words["second"]).select_option("mle 500")
    page.get_by_role("button", name=words["compare"]).click()
    page.wait_for_url("**second=mle+500*")
    row = page.locator(".samples tbody tr").first.locator("td").all_inner_texts()
    assert row == [f"Hi there.\n{EVIL}?", "Fine.", f"{EVIL} 100", f"{EVIL} 500"]
    assert page.title() != "owned"
    assert page.get_by_text(str(digest)[:12]).is_visible()
    assert page.locator(".card").inner_text().strip() == CARD
    page.go_back()
    page.get_by_label(words["second"]).wait_for()
    assert page.get_by_label(words["second"]).input_value() == "mle 1000"


def test_without_script_checkpoints_are_compared(real: RealService, visit: Callable) -> None:
    words = WORDS["en"]
    page = visit(f"{real.url}/models", script=False, width=375)
    page.get_by_role("link", name="recurrent").click()
    page.get_by_label(words["first"]).select_option("mle 500")
    page.get_by_role("button", name=words["compare"]).click()
    page.locator(".samples").wait_for()
    assert page.locator(".samples tbody tr").first.locator("td").nth(2).inner_text() == f"{EVIL} 500"
    assert page.get_by_role("img", name=words["curve_valid_nll"]).is_visible()
    assert page.get_by_role("link", name=words["talk"]).is_visible()


def test_a_card_is_text_and_what_is_missing_says_what_to_do(
    serve: Callable, visit: Callable, violations: Callable, screenshots: Path
) -> None:
    evil = "# Card <img src=x onerror=document.title='owned'>"
    service = serve(FakeBot("m<b>/x", card=evil))
    page = visit(f"{service.url}/models")
    assert page.get_by_text(WORDS["en"]["not_judged"]).is_visible()
    assert violations(page) == []
    found = httpx.get(f"{service.url}/models/none", headers={"Accept": "text/html"})
    assert found.status_code == 404
    assert page.get_by_role("link", name="m<b>/x").is_visible()


def test_no_run_beside_a_model(serve: Callable, visit: Callable, violations: Callable) -> None:
    evil = "# Card <img src=x onerror=document.title='owned'>"
    page = visit(f"{serve(FakeBot('plain', card=evil)).url}/models/plain")
    assert page.get_by_text(evil).is_visible()
    assert page.get_by_text(WORDS["en"]["curves_none"]).is_visible()
    assert page.get_by_text(WORDS["en"]["quality_none"]).is_visible()
    assert page.title() != "owned"
    assert violations(page) == []


def test_no_model_at_all(serve: Callable, visit: Callable, violations: Callable) -> None:
    page = visit(f"{serve().url}/models", width=375)
    assert page.get_by_text("rejoinder serve --models").is_visible()
    assert violations(page) == []
