"""The models' pages in a real browser: a trained bundle in its run's directory, and what there is to do without one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from app.pages.words import words_of
from tests.app.fakes import FakeBot
from tests.browser.conftest import fits

pytestmark = pytest.mark.browser

WORDS = {language: words_of("models", language) for language in ("en", "zh")}
EVIL = "<b>evil</b>"
GOLDEN = Path(__file__).parents[1] / "golden"


def run_directory(folder: Path) -> Path:
    """Make a run's directory around the golden bundle, with the files that training writes."""
    shutil.copytree(GOLDEN / "recurrent", folder / "bundle")
    metrics = [
        {"step": step, "stage": "mle", "nll": 5 - step / 1000, "valid_nll": 4.5 - step / 1500, "valid_distinct_2": 0.5}
        for step in range(100, 1100, 100)
    ] + [
        {"step": step, "stage": "adversarial", "valid_nll": 3.9, "reward": step / 1e4, "d_accuracy": float("nan")}
        for step in (10, 20, 30)
    ]
    lines = [json.dumps(row) for row in metrics]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, lines[-1][:20]]), encoding="utf-8")  # still being written
    samples = [
        {
            "step": step,
            "stage": "mle",
            "context": f"Hi {i}. / {EVIL}?",
            "human": "Fine.",
            "generator": f"{step}",
        }
        for step in (100, 500, 1000)
        for i in range(3)
    ]
    (folder / "samples.jsonl").write_text("\n".join(map(json.dumps, samples)), encoding="utf-8")
    points = [
        {"values": {"distinct_2": {"value": 0.5 + t / 10}, "adver_suc": {"value": 0.3 - t / 20}}} for t in range(4)
    ]
    curves = [{"system": "cseqgan", "points": points}, {"system": "empty", "points": [{"values": {}}]}]
    (folder / "report").mkdir()
    (folder / "report" / "report.json").write_text(json.dumps({"format": 1, "curves": curves}), encoding="utf-8")
    return folder


@pytest.mark.parametrize(("language", "width"), [("en", 1280), ("en", 375), ("zh", 1280), ("zh", 375)])
def test_a_trained_bundle_in_its_run(
    serve: Callable,
    visit: Callable,
    violations: Callable,
    screenshots: Path,
    tmp_path: Path,
    language: str,
    width: int,
) -> None:
    words = WORDS[language]
    service = serve(models=run_directory(tmp_path / "run"))
    locale = "zh-CN" if language == "zh" else "en-GB"
    page = visit(f"{service.url}/", width=width, locale=locale)
    chat = words_of("chat", language)
    page.get_by_label(chat["message"]).fill("Hello, how are you?")
    page.get_by_role("button", name=chat["send"], exact=True).click()
    page.locator(".turn.reply:not(.pending)").wait_for()
    page.get_by_role("button", name=chat["up"], exact=True).click()
    page.get_by_text(chat["stored"]).wait_for(state="attached")
    page.goto(f"{service.url}/models")
    page.get_by_text("+1 −0").wait_for()  # what people say stands beside the weights that wrote it
    page.screenshot(path=screenshots / f"models-{language}-{width}.png", full_page=True)
    assert fits(page)
    assert violations(page) == []
    page.get_by_role("link", name="bundle").click()
    page.get_by_role("img", name=words["curve_valid_nll"]).wait_for()
    assert page.get_by_role("img", name=words["curve_reward"]).is_visible()
    assert page.get_by_role("img", name=words["curve_d_accuracy"]).count() == 0  # not one finite number was logged
    assert page.get_by_role("img", name=words["quality_adver_suc"]).locator("circle").count() == 4
    page.screenshot(path=screenshots / f"model-{language}-{width}.png", full_page=True)
    assert fits(page)
    assert violations(page) == []
    page.get_by_label(words["second"]).select_option("mle 500")
    page.get_by_role("button", name=words["compare"]).click()
    page.wait_for_url("**second=mle+500*")
    row = page.locator(".samples tbody tr").first.locator("td").all_inner_texts()
    assert row == [f"Hi 0.\n{EVIL}?", "Fine.", "100", "500"]
    [(digest,)] = service.rows("select weights_sha256 from system")
    assert page.get_by_text(str(digest)[:12]).is_visible()


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
