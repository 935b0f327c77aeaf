"""The chat page as a browser without JavaScript uses it."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.pages.words import GROUPS, choose_language, layout, words_of
from tests.app.fakes import FakeBot

WORDS = {language: words_of("chat", language) for language in ("en", "zh")}
PAGE = {"Accept": "text/html,application/xhtml+xml"}


def say(client: TestClient, message: str = "hello", **fields: str):
    return client.post("/chat", data={"message": message, "model": "fake", **fields}, headers=PAGE)


def reply_ids(html: str) -> list[str]:
    return re.findall(r'id="(reply-[0-9a-f]{32})"', html)


def test_both_languages_have_the_same_words() -> None:
    for group in (layout.WORDS, *GROUPS.values()):
        assert set(group["en"]) == set(group["zh"])
        assert all(text.strip() for words in group.values() for text in words.values())


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
    assert english.headers["vary"] == "Accept-Language, Cookie"
    assert WORDS["zh"]["send"] in client.get("/").text  # it is remembered


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
    fields = {"reply_id": reply_id, "conversation": page.url.params["conversation"], "model": "fake"}
    page = any_client.post("/rate", data={**fields, "thumb": "1"}, headers=PAGE)
    page = any_client.post("/rate", data={**fields, "thumb": "-1"}, headers=PAGE)
    assert (page.history[0].status_code, page.url.fragment) == (303, reply_id)
    log = page.text.split("<template")[0]
    assert re.findall(r'value="(-?1)" aria-pressed="(\w+)"', log) == [("1", "false"), ("-1", "true")]
    assert [(row["value"], row["response_id"]) for row in rows(any_client, "judgement")] == [
        (1, reply_id), (-1, reply_id)]  # fmt: skip


def test_text_is_escaped_wherever_it_comes_from(start: Callable[..., TestClient]) -> None:
    evil = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'"
    bot = FakeBot(name='m"><b>', say=lambda request, choice: evil)
    client = start(bot, broken={"<i>": "x"})
    page = client.post("/chat", data={"message": evil, "model": bot.name}, headers=PAGE)
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
    assert tags.seen.count("script") == 2  # our own, by src
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
    assert 'type="checkbox" name="best"' not in start(FakeBot(has_discriminator=False)).get("/").text


def test_a_silent_reply_does_not_end_the_conversation(client: TestClient, bot: FakeBot) -> None:
    bot.say = lambda request, choice: ""
    page = say(client, "one")
    assert WORDS["en"]["silence"] in page.text
    page = say(client, "two", conversation=page.url.params["conversation"])
    assert page.status_code == 200
    assert bot.batches[-1][0].turns == ("one\ntwo",)


def events(body: str) -> list[dict[str, Any]]:
    frames = [frame.removeprefix("data: ") for frame in body.split("\n\n") if frame.startswith("data: ")]
    return [json.loads(frame) for frame in frames if frame != "[DONE]"]


STREAM = {"Accept": "text/event-stream"}
FRESH = "0123456789abcdef" * 2


def test_the_script_gets_a_stream_and_then_all_is_stored(any_client: TestClient, rows: Callable) -> None:
    form = {"message": "hi", "model": "fake", "fresh": FRESH, "after": "0"}
    response = any_client.post("/chat", data=form, headers=STREAM)
    assert response.headers["content-type"].startswith("text/event-stream")
    frames = events(response.text)
    [stored] = rows(any_client, "response")
    assert "".join(frame["choices"][0]["delta"].get("content", "") for frame in frames) == stored["text"]
    assert {frame["choices"][0]["reply_id"] for frame in frames} == {stored["id"]}
    assert frames[-1]["choices"][0]["discriminator_score"] == 0.9
    assert [(turn["conversation_id"], turn["text"]) for turn in rows(any_client, "turn")] == [
        (FRESH, "hi"), (FRESH, stored["text"])]  # fmt: skip


def test_what_is_sent_twice_counts_once(any_client: TestClient, bot: FakeBot, rows: Callable) -> None:
    form = {"message": "hi", "model": "fake", "fresh": FRESH, "after": "0"}
    first = any_client.post("/chat", data=form, headers=PAGE)
    second = any_client.post("/chat", data=form, headers=PAGE)
    assert first.url == second.url
    third = any_client.post("/chat", data=form, headers=STREAM)
    assert third.json()["address"].endswith(f"#{first.url.fragment}")
    [reply_id] = reply_ids(first.text)
    again = {"conversation": FRESH, "reply_id": reply_id, "model": "fake"}
    one = any_client.post("/chat/again", data=again, headers=PAGE)
    two = any_client.post("/chat/again", data=again, headers=PAGE)
    assert one.url == two.url
    [new_id] = reply_ids(one.text)
    assert new_id != reply_id
    edit = {"conversation": FRESH, "edit": new_id, "message": "hello", "model": "fake"}
    one = any_client.post("/chat", data=edit, headers=PAGE)
    two = any_client.post("/chat", data=edit, headers=PAGE)
    assert one.url == two.url
    assert len(bot.batches) == len(rows(any_client, "response")) == 3
    turns = rows(any_client, "turn")
    assert [(turn["position"], turn["text"]) for turn in turns if turn["replaced_at"] is None] == [
        (0, "hello"), (1, bot.say(bot.batches[2][0], 0))]  # fmt: skip
    assert len(turns) == 5  # what was replaced stays
    other = any_client.post("/chat", data={**form, "message": "something else"}, headers=PAGE)
    assert other.status_code == 409


def test_an_edit_in_the_middle_replaces_what_follows(any_client: TestClient, bot: FakeBot, rows: Callable) -> None:
    page = say(any_client, "one", fresh=FRESH)
    [first] = reply_ids(page.text)
    for message in ("two", "three"):
        say(any_client, message, conversation=FRESH)
    page = say(any_client, "instead of one", conversation=FRESH, edit=first)
    assert len(reply_ids(page.text)) == 1
    assert bot.batches[-1][0].turns == ("instead of one",)
    assert "three" not in page.text.split("<template")[0]
    unknown = say(any_client, "x", conversation=FRESH, edit="reply-" + "0" * 32)
    assert unknown.status_code == 404
    late = {"conversation": FRESH, "reply_id": first, "model": "fake"}
    say(any_client, "four", conversation=FRESH)
    assert any_client.post("/chat/again", data=late, headers=PAGE).status_code == 409


def test_a_failed_reply_leaves_everything_as_it_was(any_client: TestClient, rows: Callable) -> None:
    say(any_client, "one", fresh=FRESH)
    before = rows(any_client, "turn")
    form = {"message": "break down", "model": "fake", "conversation": FRESH}
    assert any_client.post("/chat", data=form, headers=PAGE).status_code == 500
    response = any_client.post("/chat", data=form, headers=STREAM)
    assert "error" in response.json()
    assert rows(any_client, "turn") == before


def test_reasons_values_and_the_side_bar(any_client: TestClient, rows: Callable) -> None:
    page = say(any_client, "one", fresh=FRESH)
    [reply_id] = reply_ids(page.text)
    base = {"conversation": FRESH, "model": "fake", "reply_id": reply_id}
    page = any_client.post(
        "/rate", data={**base, "thumb": "-1", "reasons": ["dull", "untrue"], "comment": " so so "}, headers=PAGE
    )
    assert page.status_code == 200
    [judgement] = rows(any_client, "judgement")
    assert (judgement["value"], judgement["comment"]) == (-1, "so so")
    assert [word in str(judgement["reasons"]) for word in ("dull", "untrue", "funny")] == [True, True, False]
    for _ in range(2):  # what is said already is not said again
        any_client.post("/chat/scale", data={**base, "fluent": "5", "sensible": "2"}, headers=PAGE)
    scales = [(row["dimension"], row["value"]) for row in rows(any_client, "judgement")[1:]]
    assert scales == [("sensible", 2), ("fluent", 5)]
    page = any_client.get("/", headers=PAGE)
    assert f"conversation={FRESH}" in page.text
    any_client.cookies.clear()
    assert f"conversation={FRESH}" not in any_client.get("/", headers=PAGE).text  # another browser's list
    say(any_client, "not judged", conversation=FRESH)
    any_client.post("/chat/delete", data={"conversation": FRESH}, headers=PAGE)
    assert rows(any_client, "turn") == rows(any_client, "conversation") == []
    assert len(rows(any_client, "judgement")) == 3
    assert [row["id"] for row in rows(any_client, "response")] == [reply_id]  # judged, so it stays with its context
    assert "not judged" not in str(rows(any_client, "context"))


def test_words_that_must_not_be_used_are_in_no_export(any_client: TestClient, rows: Callable) -> None:
    for private in ("", "on"):
        page = say(any_client, f"secret {private}", private=private)
        [reply_id] = reply_ids(page.text)
        any_client.post("/rate", data={"reply_id": reply_id, "thumb": "1"}, headers=PAGE)
    conversation = page.url.params["conversation"]
    for kind in ("thumbs", "judgements"):
        lines = any_client.get(f"/v1/exports/{kind}").text.splitlines()
        assert len(lines) == 1, kind
        assert "secret on" not in lines[0]
    any_client.post("/chat/privacy", data={"conversation": conversation}, headers=PAGE)
    assert len(any_client.get("/v1/exports/thumbs").text.splitlines()) == 2
    assert any_client.post("/chat/privacy", data={"conversation": "none"}, headers=PAGE).status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.a.proxy"}, 200),
        ({"Origin": "http://testserver"}, 200),
        ({}, 200),
    ],
)
def test_forms_of_other_sites_are_refused(client: TestClient, headers: dict[str, str], status: int) -> None:
    page = client.post("/chat", data={"message": "hi", "model": "fake"}, headers={**PAGE, **headers})
    assert page.status_code == status


def test_the_colours_are_remembered(client: TestClient) -> None:
    assert "data-theme=" not in client.get("/").text.split("<body")[0]
    assert 'data-theme="dark"' in client.get("/?theme=dark").text
    assert 'data-theme="dark"' in client.get("/").text
    assert "onload" not in client.get("/?theme=%22+onload=x").text.split("<body")[0]


@pytest.mark.parametrize(
    "path", ["/", "/arena", "/board", "/studies", "/models", "/models/fake", "/batches", "/rate/none", "/x"]
)
def test_every_page_keeps_the_policy_it_is_sent_with(client: TestClient, path: str) -> None:
    page = client.get(path, headers=PAGE)
    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    assert "unsafe" not in page.headers["content-security-policy"]

    class Inline(HTMLParser):
        found: list[object] = []  # noqa: RUF012

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            given = dict(attrs)
            self.found += [name for name in given if name == "style" or name.startswith("on")]
            if tag == "style" or (tag == "script" and not (given.get("src") or "").startswith("/static/")):
                self.found.append(tag)
            self.found += [
                link for link in (given.get("href"), given.get("src"), given.get("action")) if "//" in (link or "")
            ]

    inline = Inline()
    inline.feed(page.text)
    assert inline.found == []


def test_a_models_page_says_how_it_is_drawn_in_both_languages(client: TestClient) -> None:
    said = {"en": "drawn at temperature 0.7, top-p 1 ·", "zh": "解码：温度 0.7，top-p 1 ·"}
    for language, words in said.items():
        assert words in client.get(f"/models/fake?lang={language}", headers=PAGE).text


def test_a_wrong_address_cannot_lead_to_another_host(client: TestClient) -> None:
    page = client.get("//evil.example/x", headers=PAGE)
    assert page.status_code == 404
    assert 'href="//' not in page.text


def test_without_a_model_the_page_says_what_to_do(start: Callable[..., TestClient]) -> None:
    client = start(broken={"half": "truncated"})
    page = client.get("/", headers=PAGE)
    assert page.status_code == 200
    assert "rejoinder serve --models" in page.text
    assert "half" in page.text
    assert "<textarea" not in page.text


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
        ("/chat", {str(i): "x" for i in range(70)}, 400),
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
            from app.pages.chat import repository

            [response] = [row["id"] for row in rows(any_client, "response")]
            repository.add_turns(
                session,
                conversation,
                2,
                [("user", "from the other window", None), ("assistant", "reply", str(response))],
            )
        return original()

    bot.step = meanwhile  # type: ignore[method-assign]
    response = say(any_client, "too late", conversation=conversation)
    assert response.status_code == 409
    assert [turn["text"] for turn in rows(any_client, "turn")][2:] == ["from the other window", "reply"]
    assert len(rows(any_client, "response")) == 1  # the late reply was not kept: all of it or nothing
