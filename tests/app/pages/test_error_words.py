"""What a person is told of errors: every code that a page can meet has its sentence, and no detail is lost."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.pages.words.errors import said, sayings
from tests.app.fakes import FakeBot

APP = Path(__file__).parents[3] / "app"
PAGE = {"Accept": "text/html", "Accept-Language": "zh"}
NEVER_ON_A_PAGE = {
    # Of routes and parameters that only programs use.
    "admin_key_not_set", "idempotency_key_reused", "invalid_purpose", "unsupported_parameter",
    "unknown_dimension", "not_ready", "file_in_use", "rater_not_found", "batch_cancelled", "batch_expired",
    "log_in_use",
}  # fmt: skip


def test_every_code_that_a_page_can_meet_has_a_chinese_sentence() -> None:
    found = {code for path in APP.rglob("*.py") for code in re.findall(r'\bcode="(\w+)"', path.read_text("utf-8"))}
    assert len(found) > 40
    known = set(sayings("zh"))
    assert found - known - NEVER_ON_A_PAGE == set()


def test_english_is_the_services_own_and_chinese_keeps_what_only_it_says() -> None:
    message = "message: 16001 characters; at most 16000 are read"
    assert said("en", message, "message_too_long").text == message
    chinese = said("zh", message, "message_too_long")
    assert (chinese.text, chinese.detail) == ("太长了。", message)
    assert said("zh", "the service is stopping", "stopping").detail == ""
    unheard = said("zh", "something new", "unheard_of", 404)
    assert (unheard.text, unheard.detail) == ("没有找到。", "something new")
    assert sayings("en") == {}
    assert sayings("zh")[""][1]  # whatever has no sentence keeps the English one


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/x", "这个地址没有内容。"),
        ("/?conversation=none", "这里没有保存这个对话。"),
        ("/models/none", "这个模型没有加载。"),
        ("/rate/join/none", "没有这个邀请。"),
    ],
)
def test_a_page_of_an_error_speaks_the_visitors_language(client: TestClient, path: str, told: str) -> None:
    assert told in client.get(path, headers=PAGE).text


def test_the_interface_stays_english(start: Callable[..., TestClient]) -> None:
    answer = start(FakeBot()).get("/v1/models/none", headers={"Accept-Language": "zh"}).json()
    assert answer["error"]["message"].isascii()
