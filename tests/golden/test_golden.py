"""A bundle made once by an earlier version loads with this one and gives exactly the replies that it gave then.

A failure here means that users' bundles or seeded replies change. If that is meant: `make.py` beside this file.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from chatbot.bot import Answer, Bot, ReplyRequest
from chatbot.bundle import FORMAT, read_config
from chatbot.decoding import Decoding

HERE = Path(__file__).parent
BUNDLES = ("recurrent", "transformer")
GOLDEN: list[dict[str, Any]] = json.loads((HERE / "replies.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=BUNDLES)
def bot(request: pytest.FixtureRequest) -> Bot:
    return Bot.load(HERE / request.param, "cpu")


def read_request(row: dict[str, Any]) -> ReplyRequest:
    return ReplyRequest(**{**row["request"], "decoding": Decoding(**row["request"]["decoding"])})


def assert_golden(answer: Answer, row: dict[str, Any]) -> None:
    expected = row["answer"]
    assert (answer.context_tokens, answer.turns_used) == (expected["context_tokens"], expected["turns_used"])
    assert len(answer.replies) == len(expected["replies"])
    for reply, then in zip(answer.replies, expected["replies"], strict=True):
        assert (reply.text, reply.finish_reason, reply.tokens) == (then["text"], then["finish_reason"], then["tokens"])
        assert reply.score == pytest.approx(then["score"], abs=1e-4)


def test_the_golden_replies_are_given_one_by_one(bot: Bot) -> None:
    for row in (row for row in GOLDEN if row["bundle"] == bot.name):
        assert_golden(bot.answer([read_request(row)])[0], row)


def test_the_golden_replies_are_given_all_at_once(bot: Bot) -> None:
    rows = [row for row in GOLDEN if row["bundle"] == bot.name]
    for answer, row in zip(bot.answer([read_request(row) for row in rows]), rows, strict=True):
        assert_golden(answer, row)


def test_the_golden_requests_ask_for_everything_there_is() -> None:
    requests = [read_request(row) for row in GOLDEN]
    plain = Decoding(temperature=1.0)
    for field in ("temperature", "top_k", "top_p", "repetition_penalty", "no_repeat_ngram", "min_tokens", "max_tokens"):
        assert any(getattr(r.decoding, field) != getattr(plain, field) for r in requests), field
    assert {row["bundle"] for row in GOLDEN} == set(BUNDLES)
    assert any(r.best_of for r in requests)
    assert any(r.n > 1 for r in requests)
    assert len({reply["text"] for row in GOLDEN for reply in row["answer"]["replies"]}) > 15


def test_the_golden_bundles_are_of_the_first_format_and_small() -> None:
    assert FORMAT >= 1
    assert {read_config(HERE / name)["format"] for name in BUNDLES} == {1}
    assert sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file() and path.suffix != ".pyc") < 200_000
