"""The arena without a browser, on both databases: what a round stores, what nobody else may see, what counts once."""

import re
from collections.abc import Callable

from fastapi.testclient import TestClient

from tests.app.fakes import FakeBot
from tests.app.people import Owner

PAGE = {"Accept": "text/html"}
JSON = {"Accept": "application/json"}


def test_a_round_is_an_item_and_a_vote_is_a_judgement(any_client: TestClient, rows: Callable) -> None:
    pair = any_client.post("/arena/round", data={"message": "hi"}, headers=JSON).json()
    assert set(pair) == {"lease", "message", "left", "right"}  # and no name
    again = any_client.post("/arena/round", data={"message": "another"}, headers=JSON).json()
    assert again == pair  # the pair that waits comes first
    vote = {"lease": pair["lease"], "choice": "left", "dwell_ms": "1234"}
    names = any_client.post("/arena/vote", data=vote, headers=JSON).json()
    assert any_client.post("/arena/vote", data=vote, headers=JSON).json() == names
    assert {one["system"] for one in names.values()} == {"fake"}
    assert {one["best_of"] for one in names.values()} == {None, 4}
    other = any_client.post("/arena/vote", data={**vote, "choice": "right"}, headers=JSON)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "already_revealed")
    [judgement] = rows(any_client, "judgement")
    [assignment] = rows(any_client, "assignment")
    assert judgement["choice"] == ("b" if assignment["swapped"] else "a")
    assert (len(rows(any_client, "response")), len(rows(any_client, "item"))) == (2, 1)
    board = any_client.get("/v1/studies/arena/results").json()
    assert sum(one["judgements"] for one in board["systems"]) == 2
    page = any_client.get(f"/arena?after={pair['lease']}", headers=PAGE)
    assert "best of 4" in page.text


def test_what_one_visitor_wrote_is_given_to_no_other(any_client: TestClient, rows: Callable) -> None:
    pair = any_client.post("/arena/round", data={"message": "only for me"}, headers=JSON).json()
    any_client.cookies.clear()
    second = any_client.post("/arena/round", data={"message": "hello"}, headers=JSON).json()
    assert second["message"] == "hello"
    assert any_client.post("/arena/vote", data={"lease": second["lease"], "choice": "tie"}, headers=JSON).is_success
    assert any_client.get("/v1/studies/arena/next").json()["reason"] == "done"  # the queue has nothing of others'
    stolen = any_client.post("/arena/vote", data={"lease": pair["lease"], "choice": "tie"}, headers=JSON)
    assert stolen.status_code == 404
    assert "only for me" not in any_client.get(f"/arena?after={pair['lease']}", headers=PAGE).text
    assert len(rows(any_client, "rater")) == 2


def test_a_study_that_took_the_name_closes_the_arena(client: TestClient) -> None:
    assert Owner(client, "arena").create().status_code == 201
    response = client.post("/arena/round", data={"message": "hi"}, headers=JSON)
    assert (response.status_code, response.json()["error"]["code"]) == (409, "arena_closed")


def test_one_system_alone_meets_nobody(start: Callable[..., TestClient]) -> None:
    client = start(FakeBot(has_discriminator=False))
    response = client.post("/arena/round", data={"message": "hi"}, headers=JSON)
    assert response.json()["error"]["code"] == "arena_too_small"


def test_a_vote_without_a_pair_leads_back(client: TestClient) -> None:
    for path, data in (("/arena/vote", {"lease": "none", "choice": "tie"}), ("/arena/skip", {"lease": "none"})):
        page = client.post(path, data=data, headers=PAGE)
        assert page.status_code == 200
        assert re.search(r'id="notice"(?:(?!hidden).)*>', page.text)
    assert client.post("/arena/vote", data={"lease": "x", "choice": "human?"}, headers=PAGE).status_code == 400
    assert client.post("/arena/round", data={"message": " "}, headers=PAGE).status_code == 400
