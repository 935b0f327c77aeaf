"""A conversation in the terminal."""

import subprocess
import sys
from pathlib import Path

import pytest

from chatbot.bot import Bot
from chatbot.errors import RejoinderError, RequestError
from chatbot.messages import Event, Failed
from chatbot.request import Decoding, ReplyRequest
from chatbot.terminal import converse

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "tests" / "golden" / "recurrent"


@pytest.fixture(scope="module")
def bot() -> Bot:
    return Bot.load(BUNDLE, "cpu")


def say(bot: Bot, *lines: str, **more: object) -> list[str]:
    """Return what was written, piece by piece."""
    told: list[str] = []
    converse(bot, lines, told.append, ReplyRequest((), Decoding(temperature=1.0), 5, **more))  # type: ignore[arg-type]
    return told


def test_replies_come_in_pieces_and_remember_what_was_said(bot: Bot) -> None:
    told = say(bot, "hello", "", "I am fine")
    first, second, rest = "".join(told).split("\n")
    assert rest == ""
    assert len(told) > 3
    [expected] = bot.answer([ReplyRequest(["hello"], Decoding(temperature=1.0), 5)])
    assert first == expected.replies[0].text
    [expected] = bot.answer([ReplyRequest(["hello", first, "I am fine"], Decoding(temperature=1.0), 6)])
    assert second == expected.replies[0].text


def test_an_empty_reply_is_no_turn(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    begin = bot.begin

    def note(key: int, request: ReplyRequest, *, stream: bool = False) -> None:
        asked.append(tuple(request.turns))
        begin(key, request, stream=stream)

    monkeypatch.setattr(bot, "begin", note)
    told: list[str] = []
    stopped = ReplyRequest((), Decoding(temperature=0.0), 5, stop=tuple("hgyn"))  # stops at its first letter
    converse(bot, ["hello", "hello"], told.append, stopped)
    assert told == ["\n", "\n"]
    assert asked == [("hello",), ("hello\nhello",)]


def test_reset_forgets(bot: Bot) -> None:
    *_, last, rest = "".join(say(bot, "bye", "/reset", "hello")).split("\n")
    [expected] = bot.answer([ReplyRequest(["hello"], Decoding(temperature=1.0), 6)])
    assert (last, rest) == (expected.replies[0].text, "")


def test_the_best_of_several_comes_whole(bot: Bot) -> None:
    [line] = say(bot, "hello", best_of=4)
    [expected] = bot.answer([ReplyRequest(["hello"], Decoding(temperature=1.0), 5, best_of=4)])
    assert line == f"{expected.replies[0].text}\n"


def test_what_cannot_be_met_is_said(bot: Bot) -> None:
    with pytest.raises(RequestError, match="best_of"):
        say(bot, "hello", best_of=0)


def test_a_model_that_fails_ends_the_conversation_with_a_reason(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> list[Event]:
        return [Failed(0, "broken", "RuntimeError")]

    monkeypatch.setattr(bot, "step", fail)
    with pytest.raises(RejoinderError, match=r"^the model failed at this message \(RuntimeError\)$"):
        say(bot, "hello")
    monkeypatch.undo()
    assert "".join(say(bot, "hello")).endswith("\n"), "nothing is left in work"


def test_the_command_answers_what_is_piped_in() -> None:
    arguments = ["chat", str(BUNDLE), "--seed", "5", "--temperature", "1"]
    done = subprocess.run(
        [sys.executable, "rejoinder.py", *arguments],
        input="hello\n你好\n",
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=True,
    )
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 2
    assert all(done.stdout.splitlines())
