"""The page that describes the interface, in a real browser."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.conftest import fits
from tests.browser.real import RealService

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("language", "width"), [("en", 1280), ("zh", 375)]
)  # the cross of all is the other pages' affair
def test_the_interface_as_a_page(
    real: RealService, visit: Callable, violations: Callable, screenshots: Path, language: str, width: int
) -> None:
    page = visit(f"{real.url}/docs", language=language, width=width)
    page.locator("main h1").wait_for()
    assert violations(page) == []
    assert fits(page)
    page.screenshot(path=screenshots / f"reference-{language}-{width}.png", full_page=False)
