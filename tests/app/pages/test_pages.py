"""The chat page as a browser without JavaScript uses it."""

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from fastapi.testclient import TestClient

from app.pages.words import WORDS, choose_language
from tests.app.fakes import FakeBot

PAGE = {"Accept": "text/html,application/xhtml+xml"}


def say(client: TestClient, message: str = "hello", **fields: str):
    return client.post("/chat", data={"message": message, "model": "fake", **fields}, headers=PAGE)


def reply_ids(html: str) -> list[str]:
    return re.findall(r'id="(reply-[0-9a-f]{32})"', html)


def test_both_languages_have_the_same_words() -> None:
    assert set(WORDS["en"]) == set(WORDS["zh"])
    assert all(text.strip() for words in WORDS.values() for text in words.values())


@pytest.mark.parametrize(
    ("asked", "accept", "language"),
    [
        ("", "", "en"),
        ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "fr;q=1, en;q=0.3, zh;q=0.7", "zh"),
        ("", "en-GB, zh", "en"),
        ("", "zh;q=0, en;q=0.1", "en"),
        ("", "zh;q=nan, zh;q=;;, ,en;q=2", "en"),
        ("zh", "en", "zh"),
        ("en", "zh", "en"),
        ("xx", "zh", "zh"),
        ("zh-Hant-TW", "en", "zh"),
    ],
)
def test_the_visitor_gets_their_language(asked: str, accept: str, language: str) -> None:
    assert choose_language(asked, accept) == language


def test_the_page_speaks_it(client: TestClient) -> None:
    english, chinese = client.get("/", headers={"Accept-Language": "en"}), client.get("/?lang=zh")
    assert '<html lang="en">' in english.text
    assert WORDS["en"]["send"] in english.text
    assert '<html lang="zh-Hans">' in chinese.text
    assert WORDS["zh"]["send"] in chinese.text
    assert english.headers["vary"] == "Accept-Language"


def test_a_conversation_goes_on_and_is_stored(any_client: TestClient, bot: FakeBot, rows: Callable) -> None:
    page = say(any_client, "first line\r\nsecond")
    assert page.history[0].status_code == 303
    assert str(page.url.path) == "/"
    conversation = page.url.params["conversation"]
    page = say(any_client, "and you?", conversation=conversation)
    assert page.url.params["conversation"] == conversation
    assert [request.turns for batch in bot.batches for request in batch] == [
        ("first line\nsecond",),
        ("first line\nsecond", bot.say(bot.batches[0][0], 0), "and you?"),
    ]
    turns = rows(any_client, "turn")
    assert [(turn["position"], turn["role"]) for turn in turns] == [
        (0, "user"), (1, "assistant"), (2, "user"), (3, "assistant")]  # fmt: skip
    assert [turn["response_id"] for turn in turns if turn["response_id"]] == reply_ids(page.text)
    assert page.text.index("first line") < page.text.index("and you?")


def test_a_thumb_is_stored_and_shown(any_client: TestClient, rows: Callable) -> None:
    page = say(any_client)
    [reply_id] = reply_ids(page.text)
    fields = {"reply_id": reply_id, "conversation": page.url.params["conversation"], "model": "fake", "lang": "zh"}
    page = any_client.post("/rate", data={**fields, "thumb": "1"}, headers=PAGE)
    page = any_client.post("/rate", data={**fields, "thumb": "-1"}, headers=PAGE)
    assert (page.history[0].status_code, page.url.fragment, page.url.params["lang"]) == (303, reply_id, "zh")
    log = page.text.split("<template")[0]
    assert re.findall(r'value="(-?1)" aria-pressed="(\w+)"', log) == [("1", "false"), ("-1", "true")]
    assert [(row["value"], row["response_id"]) for row in rows(any_client, "judgement")] == [
        (1, reply_id), (-1, reply_id)]  # fmt: skip


def test_text_is_escaped_wherever_it_comes_from(start: Callable[..., TestClient]) -> None:
    evil = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'"
    bot = FakeBot(name='m"><b>', say=lambda request, choice: evil)
    client = start(bot, broken={"<i>": "x"})
    page = client.post("/chat", data={"message": evil, "model": bot.name, "lang": '"><u>'}, headers=PAGE)
    assert page.status_code == 200

    class Tags(HTMLParser):
        seen: list[str] = []  # noqa: RUF012
        handlers: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.seen.append(tag)
            self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]

    tags = Tags()
    tags.feed(page.text)
    assert not {"b", "i", "u", "style"} & set(tags.seen)
    assert tags.seen.count("script") == 1  # our own, by src
    assert tags.seen.count("img") == 1
    assert tags.handlers == []
    assert "&lt;script&gt;" in page.text


def test_pick_the_best_asks_for_four_where_there_is_a_discriminator(start: Callable[..., TestClient]) -> None:
    judged, plain = FakeBot("fake"), FakeBot("plain", has_discriminator=False)
    client = start(judged, plain)
    page = say(client, best="on")
    assert page.url.params["best"] == "on"
    assert re.search(r'name="best" value="on" checked', page.text)
    say(client, best="on", model="plain")
    assert (judged.batches[0][0].best_of, plain.batches[0][0].best_of) == (4, None)


def test_the_box_is_hidden_where_nothing_can_rank(start: Callable[..., TestClient]) -> None:
    assert 'type="checkbox"' not in start(FakeBot(has_discriminator=False)).get("/").text


def test_a_silent_reply_does_not_end_the_conversation(client: TestClient, bot: FakeBot) -> None:
    bot.say = lambda request, choice: ""
    page = say(client, "one")
    assert WORDS["en"]["silence"] in page.text
    page = say(client, "two", conversation=page.url.params["conversation"])
    assert page.status_code == 200
    assert bot.batches[1][0].turns == ("one\ntwo",)


def test_the_script_gets_json(client: TestClient, rows: Callable) -> None:
    response = client.post("/chat", data={"message": "hi", "model": "fake"}, headers={"Accept": "application/json"})
    said = response.json()
    assert set(said) == {"conversation", "reply_id", "text", "model"}
    assert [row["id"] for row in rows(client, "response")] == [said["reply_id"]]


def test_without_a_model_the_page_says_what_to_do(start: Callable[..., TestClient]) -> None:
    client = start(broken={"half": "truncated"})
    page = client.get("/", headers=PAGE)
    assert page.status_code == 200
    assert "rejoinder serve --models" in page.text
    assert "half" in page.text
    assert "<form" not in page.text


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("/chat", {"message": "", "model": "fake"}, 400),
        ("/chat", {"message": " ", "model": "fake"}, 400),
        ("/chat", {"message": "a\x00", "model": "fake"}, 400),
        ("/chat", {"message": "x" * 16_001, "model": "fake"}, 400),
        ("/chat", {"message": "hi", "model": "none"}, 404),
        ("/chat", {"message": "hi", "model": "fake", "conversation": "none"}, 404),
        ("/chat", {"message": "hi", "model": "fake", "best": "yes"}, 400),
        ("/chat", {str(i): "x" for i in range(40)}, 400),
        ("/rate", {"reply_id": "none", "thumb": "1"}, 404),
        ("/rate", {"reply_id": "none", "thumb": "5"}, 400),
        ("/rate", {}, 400),
    ],
)
def test_bad_forms_get_a_page_that_leads_back(
    client: TestClient, path: str, fields: dict[str, str], status: int
) -> None:
    page = client.post(path, data=fields, headers=PAGE)
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")
    assert WORDS["en"]["back"] in page.text
    assert client.post(path, data=fields).json()["error"]["message"]


@pytest.mark.parametrize("query", ["conversation=none", "conversation=" + "x" * 49, "conversation=%00", "best=no"])
def test_bad_addresses_get_a_page(client: TestClient, query: str) -> None:
    page = client.get(f"/?{query}", headers=PAGE)
    assert page.status_code in (400, 404)
    assert WORDS["en"]["back"] in page.text


def test_a_form_of_another_kind_is_refused(client: TestClient) -> None:
    assert client.post("/chat", json={"message": "hi"}).status_code == 400
    assert client.post("/chat", files={"message": b"hi"}).status_code == 400


def test_two_windows_on_one_conversation_do_not_mix(any_client: TestClient, bot: FakeBot, rows: Callable) -> None:
    conversation = say(any_client).url.params["conversation"]
    original = bot.step

    def meanwhile():
        bot.step = original  # type: ignore[method-assign]
        with any_client.app.state.database.writing() as session:  # type: ignore[attr-defined]
            from app.pages import repository

            [response] = [row["id"] for row in rows(any_client, "response")]
            repository.add_exchange(session, conversation, 2, "from the other window", "reply", str(response))
        return original()

    bot.step = meanwhile  # type: ignore[method-assign]
    response = say(any_client, "too late", conversation=conversation)
    assert response.status_code == 409
    assert [turn["text"] for turn in rows(any_client, "turn")][2:] == ["from the other window", "reply"]
    assert len(rows(any_client, "response")) == 1  # the late reply was not kept: all of it or nothing
