"""The service is killed under the pages, and comes back: nothing is lost, nothing counts twice, each page says so."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.pages.words import words_of
from tests.app.people import HUMAN, Owner
from tests.browser.real import RealService

pytestmark = pytest.mark.browser

CHAT, ARENA, RATING, STUDIES, BATCHES = (
    words_of(name, "en") for name in ("chat", "arena", "rating", "studies", "batches")
)
MODEL = {"kind": "model", "model": "recurrent"}


@pytest.fixture(scope="module")
def mortal(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealService]:
    """Give a service that may be killed; a stream begins after a moment, whether or not there is a word to tell."""
    service = RealService(trained, tmp_path_factory.mktemp("mortal") / "state", REJOINDER_PING_SECONDS="0.3")
    service.start()
    yield service
    service.stop()


def lost(visit: Any) -> None:
    """Expect what the console says of a service that is away, and nothing else."""
    assert visit.complaints
    assert all("ERR_" in one for one in visit.complaints), visit.complaints
    visit.complaints.clear()


def test_killed_while_replies_are_being_written(mortal: RealService, visit: Callable, violations: Callable) -> None:
    chat = visit(mortal.url)
    box = chat.get_by_label(CHAT["message"], exact=True)
    box.fill("hello")
    box.press("Enter")
    chat.locator(".turn.reply:not(.pending)").wait_for()
    before = mortal.rows("select id, text from response")
    arena = visit(f"{mortal.url}/arena")
    question = arena.get_by_label(ARENA["message"], exact=True)

    mortal.freeze_engines()  # so that both are in mid-work for certain when the service dies
    with chat.expect_response("**/chat"):  # the stream has begun
        box.fill("how are you?")
        box.press("Enter")
    question.fill("which one?")
    question.press("Enter")
    chat.locator(".turn.reply.pending").wait_for()
    mortal.kill()
    chat.get_by_text(CHAT["cut"]).wait_for()
    assert box.input_value() == "how are you?"
    assert chat.locator(".log .turn").count() == 2  # what stands is shown, half a reply is not
    arena.get_by_text(ARENA["unreachable"]).wait_for()
    assert question.input_value() == "which one?"
    assert violations(chat) == []
    box.press("Enter")  # impatiently, while it is away
    chat.get_by_text(CHAT["unreachable"]).wait_for()
    assert box.input_value() == "how are you?"
    lost(visit)

    mortal.start()
    assert mortal.rows("select id, text from response") == before
    box.press("Enter")
    chat.locator(".turn.reply:not(.pending)").nth(1).wait_for()
    question.press("Enter")
    arena.locator(".verdict button:enabled").first.wait_for()
    assert [text for (text,) in mortal.rows("select text from turn where role = 'user' order by position")] == [
        "hello",
        "how are you?",
    ]
    assert mortal.rows("select count(*) from turn") == [(4,)]
    assert mortal.rows("select count(*) from item") == mortal.rows("select count(*) from assignment") == [(1,)]
    assert mortal.rows("select count(*) from response") == [(4,)]
    chat.reload()
    assert chat.locator(".log .turn").count() == 4


def test_killed_before_what_was_judged_and_typed_is_sent(
    mortal: RealService, visit: Callable, violations: Callable, screenshots: Path, tmp_path: Path
) -> None:
    with httpx.Client(base_url=mortal.url) as client:
        contexts = [{"turns": ["hello"], "reply": "hi"}, {"turns": ["bye"], "reply": "good bye"}]
        owner = Owner(client, "lost").running("pair", systems=[HUMAN, MODEL], n=contexts, k=1)  # type: ignore[arg-type]
        rater = visit(f"{mortal.url}/rate/join/{owner.invite()}")
    rater.locator("form[action$=consent] button").click()
    rater.locator(".verdict").wait_for()
    lease = rater.locator(".verdict [name=lease]").input_value()
    rater.get_by_label(RATING["comment_first"]).fill("because")
    rater.locator("h1").click()
    arena = visit(f"{mortal.url}/arena")
    arena.get_by_label(ARENA["message"], exact=True).fill("hello")
    arena.get_by_label(ARENA["message"], exact=True).press("Enter")
    arena.locator(".verdict button:enabled").first.wait_for()
    thumbs = visit(mortal.url)
    thumbs.get_by_label(CHAT["message"], exact=True).fill("hello")
    thumbs.get_by_label(CHAT["message"], exact=True).press("Enter")
    thumbs.locator(".turn.reply:not(.pending)").wait_for()
    studies = visit(f"{mortal.url}/studies")
    studies.locator("[name=title]").fill("Typed for long")
    studies.get_by_label("recurrent", exact=True).check()
    studies.get_by_label(STUDIES["system_human"]).check()
    studies.locator("[name=contexts]").fill('{"turns": ["hello"], "reply": "hi"}')
    batches = visit(f"{mortal.url}/batches")
    file = tmp_path / "requests.jsonl"
    body = '{"model": "recurrent", "messages": [{"role": "user", "content": "hello"}]}'
    file.write_text(f'{{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {body}}}')
    batches.locator("input[type=file]").set_input_files(file)
    votes = "select count(*) from judgement where kind = 'pair'"
    judged = mortal.rows(votes)

    mortal.kill()
    for _ in range(2):
        rater.keyboard.press("1")
        rater.get_by_text(RATING["unsent"]).wait_for()
    assert rater.get_by_label(RATING["comment_first"]).input_value() == "because"
    rater.screenshot(path=screenshots / "rate-unsent.png")
    assert violations(rater) == []
    arena.keyboard.press("2")
    arena.get_by_text(ARENA["unreachable_vote"]).wait_for()
    thumbs.get_by_role("button", name=CHAT["up"], exact=True).click()
    thumbs.get_by_text(CHAT["unreachable_change"]).wait_for()
    assert thumbs.locator(".log [aria-pressed=true]").count() == 0
    studies.get_by_role("button", name=STUDIES["draft"], exact=True).click()
    studies.get_by_text(STUDIES["unsent"]).wait_for()
    batches.get_by_role("button", name=BATCHES["send"], exact=True).click()
    batches.get_by_text(BATCHES["unsent"]).wait_for()
    assert violations(studies) == []
    lost(visit)

    mortal.start()
    assert mortal.rows(votes) == judged
    rater.keyboard.press("1")
    rater.wait_for_url(f"**?after={lease}")
    arena.keyboard.press("2")
    arena.get_by_text(ARENA["voted"]).wait_for()
    thumbs.get_by_role("button", name=CHAT["up"], exact=True).click()
    thumbs.get_by_text(CHAT["stored"]).wait_for(state="attached")
    thumbs.locator(".log [aria-pressed=true]").wait_for()
    studies.get_by_role("button", name=STUDIES["draft"], exact=True).click()
    studies.get_by_role("heading", name="Typed for long").wait_for()
    batches.get_by_role("button", name=BATCHES["send"], exact=True).click()
    batches.get_by_text(BATCHES["status_completed"]).wait_for()
    assert mortal.rows(f"{votes} and comment = 'because'") == [(1,)]
    assert mortal.rows(votes) == [(int(str(judged[0][0])) + 2,)]
    assert mortal.rows("select value from judgement where kind = 'thumb'") == [(1,)]
    assert mortal.rows("select count(*) from study where slug = 'typed-for-long'") == [(1,)]
    assert mortal.rows("select status, completed from batch") == [("completed", 1)]
    # The answer was lost, and the rater sends the same once more from the page before: it counts once.
    rater.go_back()
    rater.wait_for_load_state()
    stored = mortal.rows(votes)
    cookies = {one["name"]: one["value"] for one in rater.context.cookies()}
    with httpx.Client(base_url=mortal.url, cookies=cookies) as client:
        again = client.post("/rate/lost/judge", data={"lease": lease, "choice": "left", "comment": "because"})
        assert again.status_code == 303
    assert mortal.rows(votes) == stored
