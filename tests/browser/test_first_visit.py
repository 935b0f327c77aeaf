"""The first visit: without a model, then with one but nothing said, judged or asked; each page says what to do next."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.pages.words import words_of
from tests.app.fakes import FakeBot
from tests.browser.conftest import CROSS, fits

pytestmark = pytest.mark.browser

PATHS = {"chat": "/", **{name: f"/{name}" for name in ("arena", "board", "studies", "models", "batches")}}


@CROSS
def test_without_a_model_each_page_says_how_to_get_one(
    serve: Callable, visit: Callable, violations: Callable, screenshots: Path, language: str, width: int
) -> None:
    service = serve(broken={"half-written": "truncated"})
    page = visit(service.url, language=language, width=width)
    for name, path in PATHS.items():
        words = words_of(name, language)
        page.goto(f"{service.url}{path}")
        assert page.get_by_text("rejoinder serve --models").is_visible(), name
        assert page.get_by_text("half-written").is_visible(), name
        assert page.get_by_role("heading", name=words["no_model"]).is_visible(), name
        page.screenshot(path=screenshots / f"first-no-model-{name}-{language}-{width}.png")
        assert fits(page)
        assert violations(page) == []


@CROSS
def test_with_a_model_each_page_says_what_comes_next(
    serve: Callable, visit: Callable, violations: Callable, screenshots: Path, language: str, width: int
) -> None:
    service = serve(FakeBot("demo-cseqgan"))
    page = visit(service.url, language=language, width=width)
    told = {
        "chat": ["welcome", "opener_1", "history_none" if width > 1000 else "welcome_more"],
        "arena": ["lead", "send"],
        "board": ["empty_title", "empty_arena", "empty_study", "empty_chat"],
        "studies": ["next_step", "empty", "draft"],
        "models": ["not_judged", "nav_arena"],
        "batches": ["next_step", "empty", "send"],
    }
    for name, path in PATHS.items():
        words = words_of(name, language)
        page.goto(f"{service.url}{path}")
        for word in told[name]:
            assert page.get_by_text(words[word], exact=True).first.is_visible(), (name, word)
        page.screenshot(path=screenshots / f"first-{name}-{language}-{width}.png", full_page=True)
        assert fits(page)
        assert violations(page) == []
    page.goto(f"{service.url}/models/demo-cseqgan")
    for word in ("curves_none", "quality_none"):
        assert page.get_by_text(words_of("models", language)[word]).is_visible()
    assert violations(page) == []
