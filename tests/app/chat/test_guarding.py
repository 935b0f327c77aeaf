"""Guards over what is served: new draws that a seed still decides, refusals, streams that end; all of it can be off."""

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from app.chat.guarding import FILTERED, REFUSALS, Guard, Told, load_hook
from app.settings import Settings
from chatbot.errors import RejoinderError
from chatbot.guards import Blocklist, redraw_seed
from tests.app.fakes import FakeBot, app_of

LOOP = "I am not sure, I am not sure, I am not sure, I am not sure, I am not sure."


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, FakeBot]]:
    """Give a client of a service that the tests of this file share, and its bot, which they make say things."""
    bot = FakeBot()
    with TestClient(app_of(Settings(state=tmp_path_factory.mktemp("guarded")), bot)) as client:
        yield client, bot


def say(bot: FakeBot, *texts: str) -> FakeBot:
    """Make `bot` say `texts` in the order of its requests, then the last for ever; and forget what it was asked."""
    bot.batches.clear()
    bot.say = lambda request, choice: texts[min(len(bot.batches), len(texts)) - 1]
    return bot


def of_seeds(bot: FakeBot, texts: dict[int, list[str]]) -> FakeBot:
    """Make `bot` say what `texts` has for a request's seed; and forget what it was asked."""
    bot.batches.clear()
    bot.say = lambda request, choice: texts[request.seed][choice]
    return bot


def ask(client: TestClient, text: str = "hello", **more: object) -> dict[str, Any]:
    body = {"model": "fake", "messages": [{"role": "user", "content": text}], "seed": 7, **more}
    response = client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def stream(client: TestClient, text: str = "hello", **more: object) -> tuple[list[str], str]:
    """Return the pieces of a streamed reply's text and why it ended."""
    body = {"model": "fake", "messages": [{"role": "user", "content": text}], "seed": 7, "stream": True, **more}
    content = client.post("/v1/chat/completions", json=body).text
    assert content.endswith("data: [DONE]\n\n")
    chunks = [json.loads(line.removeprefix("data: ")) for line in content.split("\n\n") if line.startswith("data: {")]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return [choice["delta"].get("content", "") for choice in choices], choices[-1]["finish_reason"]


@pytest.mark.parametrize("faulty", ["", "  ", LOOP, "我不知道我不知道我不知道我不知道", "you retard"])
def test_a_faulty_reply_is_drawn_anew_with_a_seed_that_follows(
    faulty: str, served: tuple[TestClient, FakeBot], rows: Callable[..., list[dict[str, Any]]]
) -> None:
    client, bot = served
    say(bot, faulty, faulty, "a good one")
    body = ask(client)
    assert body["choices"][0]["message"]["content"] == "a good one"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["seed"] == 7
    seeds = [request.seed for batch in bot.batches for request in batch]
    assert seeds == [7, redraw_seed(7, 1), redraw_seed(7, 2)]
    # The reply is stored with the seed that gives it, and as the model's.
    [stored] = [row for row in rows(client, "response") if row["id"] == body["id"]]
    assert (stored["text"], stored["seed"], stored["choice"]) == ("a good one", redraw_seed(7, 2), 0)
    assert [row["name"] for row in rows(client, "system") if row["id"] == stored["system_id"]] == ["fake"]


def test_only_the_faulty_ones_of_many_are_drawn_anew(served: tuple[TestClient, FakeBot]) -> None:
    client, bot = served
    of_seeds(bot, {7: ["one", "", "three", LOOP], redraw_seed(7, 1): ["two", ""], redraw_seed(7, 2): ["four"]})
    body = ask(client, n=4)
    assert [choice["message"]["content"] for choice in body["choices"]] == ["one", "two", "three", "four"]
    assert [request.n for batch in bot.batches for request in batch] == [4, 2, 1]


def test_the_best_stays_first_and_candidates_are_drawn_again(served: tuple[TestClient, FakeBot]) -> None:
    client, bot = served
    of_seeds(bot, {7: ["", "second"], redraw_seed(7, 1): ["first"]})
    body = ask(client, n=2, best_of=5)
    # The fake's scores fall with the place: the new draw's is as high as the first one's was.
    assert [choice["message"]["content"] for choice in body["choices"]] == ["first", "second"]
    scores = [choice["discriminator_score"] for choice in body["choices"]]
    assert scores == sorted(scores, reverse=True)
    assert [request.best_of for batch in bot.batches for request in batch] == [5, 5]


@pytest.mark.parametrize(
    ("question", "blocked", "refusal"),
    [("hello", "oh you Retard", REFUSALS["en"]), ("你好", "你这个婊子", REFUSALS["zh"])],
)
def test_what_stays_blocked_is_refused_and_not_the_models_word(
    question: str,
    blocked: str,
    refusal: str,
    served: tuple[TestClient, FakeBot],
    rows: Callable[..., list[dict[str, Any]]],
) -> None:
    client, bot = served
    say(bot, blocked)
    body = ask(client, question)
    [choice] = body["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (refusal, FILTERED)
    assert choice["discriminator_score"] is None
    assert sum(len(batch) for batch in bot.batches) == 4
    [stored] = [row for row in rows(client, "response") if row["id"] == body["id"]]
    [system] = [row for row in rows(client, "system") if row["id"] == stored["system_id"]]
    assert (stored["text"], system["kind"], system["name"]) == (refusal, "baseline", "refusal")


def test_a_loop_that_stays_is_told_for_it_harms_nobody(served: tuple[TestClient, FakeBot]) -> None:
    client, bot = served
    say(bot, LOOP)
    body = ask(client)
    assert (body["choices"][0]["message"]["content"], body["choices"][0]["finish_reason"]) == (LOOP, "stop")


def test_at_temperature_0_nothing_is_drawn_anew(served: tuple[TestClient, FakeBot]) -> None:
    client, bot = served
    say(bot, LOOP, "other")
    assert ask(client, temperature=0)["choices"][0]["message"]["content"] == LOOP
    assert len(bot.batches) == 1
    say(bot, "婊子")
    assert ask(client, temperature=0)["choices"][0]["finish_reason"] == FILTERED


def test_off_by_a_setting_replies_are_as_they_come(start: Callable[..., TestClient]) -> None:
    bot = say(FakeBot(), LOOP, "", "you retard", "x" * 40)
    client = start(bot, guards=False)
    assert [ask(client)["choices"][0]["message"]["content"] for _ in range(3)] == [LOOP, "", "you retard"]
    assert stream(client)[0] == ["", "x" * 40, ""]  # told before the end is known


def test_a_file_of_ones_own_is_read(start: Callable[..., TestClient], tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("Acme\n", encoding="utf-8")
    client = start(say(FakeBot(), "buy from ACME!", "buy from us"), blocklist=tmp_path / "own.txt")
    assert ask(client)["choices"][0]["message"]["content"] == "buy from us"


def test_lists_of_contexts_are_guarded_too(served: tuple[TestClient, FakeBot]) -> None:
    client, bot = served
    of_seeds(bot, {7: [""], 8: ["fine"], redraw_seed(7, 1): ["drawn anew"]})
    body = {"model": "fake", "contexts": [["a"], ["b"]], "seed": 7}
    data = client.post("/v1/replies", json=body).json()["data"]
    assert [one["replies"][0]["text"] for one in data] == ["drawn anew", "fine"]


# Streams


def test_a_stream_ends_where_a_blocked_word_begins(
    served: tuple[TestClient, FakeBot], rows: Callable[..., list[dict[str, Any]]]
) -> None:
    client, bot = served
    before = "This is a long beginning that can be told to anybody at all, for nothing is wrong with it. "
    say(bot, f"{before}But you retard would not see what comes behind it all.")
    pieces, reason = stream(client)
    told = "".join(pieces)
    assert reason == FILTERED
    assert before.startswith(told[: len(before)])
    assert "retard" not in told
    [stored] = [row for row in rows(client, "response") if row["text"] == told]
    assert stored["finish_reason"] == "length"
    assert len(bot.batches) == 1  # what was told cannot be drawn anew


def test_a_stream_ends_when_it_runs_in_a_loop(served: tuple[TestClient, FakeBot]) -> None:
    client, bot = served
    say(bot, "Well, let me see now. " + "I am not sure, " * 30)
    pieces, reason = stream(client)
    told = "".join(pieces)
    assert reason == FILTERED
    assert told.startswith("Well, let me see")
    assert len(told) < 20 * len("I am not sure, ")


def test_a_stream_of_which_nothing_was_told_is_drawn_anew(served: tuple[TestClient, FakeBot]) -> None:
    client, bot = served
    say(bot, "", "婊子", "good")
    pieces, reason = stream(client)
    assert ("".join(pieces), reason) == ("good", "stop")
    say(bot, "婊子")
    pieces, reason = stream(client, "你好")
    assert ("".join(pieces), reason) == (REFUSALS["zh"], FILTERED)


@given(st.text("retard 支那.", max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_what_a_stream_tells_does_not_depend_on_its_pieces(text: str, cuts: list[int]) -> None:
    guard = Guard(Blocklist(["retard", "支那"]))
    places = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    told = Told(guard)
    pieces = [told.add(text[begin:end]) for begin, end in pairwise(places)]
    assert "".join(pieces) == Told(guard).add(text)
    assert text.startswith("".join(pieces))
    assert not guard.blocklist.finds("".join(pieces))


def test_a_good_stream_is_whole(served: tuple[TestClient, FakeBot]) -> None:
    client, bot = served
    text = "A reply that is long enough to come in several pieces, as replies do when somebody watches them. " * 2
    say(bot, text)
    pieces, reason = stream(client)
    assert ("".join(pieces), reason) == (text, "stop")
    assert sum(bool(piece) for piece in pieces) > 1


# The hook


def replace_secrets(messages: list[dict[str, str]], reply: str) -> str | None:
    """Stand for a hook of somebody's own."""
    assert messages[-1] == {"role": "user", "content": "hello"}
    if "raise" in reply:
        raise ValueError("the hook's own fault")
    return "I cannot tell you that." if "secret" in reply else None


def test_a_hook_sees_each_reply_streamed_or_not(start: Callable[..., TestClient]) -> None:
    bot = FakeBot()
    client = start(bot, guard_hook="tests.app.chat.test_guarding:replace_secrets")
    for reply, told, reason in (
        ("all is well", "all is well", "stop"),
        ("the secret is 42", "I cannot tell you that.", FILTERED),
        ("raise it", REFUSALS["en"], FILTERED),
    ):
        say(bot, reply)
        [choice] = ask(client)["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == (told, reason)
        pieces, ended = stream(client)
        assert ([piece for piece in pieces if piece], ended) == ([told], reason)  # whole, when the hook has seen it


def test_what_cannot_be_loaded_is_named() -> None:
    for path in ("nothing_there:check", "json:nothing", "json", "json:"):
        with pytest.raises(RejoinderError, match=r"guard_hook: .* expected module:function"):
            load_hook(path)
    with pytest.raises(RejoinderError, match="json:__name__ is not a function"):
        load_hook("json:__name__")


def test_the_service_does_not_start_with_a_hook_that_is_not_there(tmp_path: Path) -> None:
    app = app_of(Settings(state=tmp_path, guard_hook="nothing_there:check"), FakeBot())
    with pytest.raises(RejoinderError, match="nothing_there"), TestClient(app):
        pass


def test_studies_judge_the_model_as_it_is(
    served: tuple[TestClient, FakeBot], rows: Callable[..., list[dict[str, Any]]]
) -> None:
    client, bot = served
    loop = f"Studies see all. {LOOP}"
    say(bot, loop)
    created = client.post("/v1/studies", json={"slug": "s", "title": "S", "protocol": {"kind": "pair", "k": 1}})
    assert created.status_code == 201, created.text
    systems = [{"kind": "human"}, {"kind": "model", "model": "fake"}]
    items = {"contexts": [{"turns": ["hello"], "reply": "hi"}], "systems": systems}
    added = client.post("/v1/studies/s/items", json=items)
    assert added.status_code == 201, added.text
    assert loop in {row["text"] for row in rows(client, "response")}
    assert len(bot.batches) == 1
