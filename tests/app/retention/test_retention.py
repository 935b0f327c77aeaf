"""`rejoinder retain`: what nobody judged is forgotten, what was judged stays whole."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from app.chat.tables import Context, Response
from app.files.tables import StoredFile
from app.pages.chat.tables import Conversation, Turn
from app.retention.commands import retain
from chatbot.errors import RejoinderError
from tests.app.people import FAKE, HUMAN, Owner


def say(client: TestClient, message: str, conversation: str = "") -> dict[str, str]:
    form = {"model": "fake", "message": message, "conversation": conversation}
    page = client.post("/chat", data=form)
    return {"conversation": page.url.params["conversation"], "reply_id": page.url.fragment}


def age(client: TestClient, days: float) -> None:
    """Make everything that is stored older."""
    with client.app.state.database.writing() as session:  # type: ignore[attr-defined]
        for table in (Context, Response, Conversation, Turn, StoredFile):
            for key, moment in session.execute(sa.select(table.id, table.created_at)).all():
                session.execute(
                    sa.update(table).where(table.id == key).values(created_at=moment - timedelta(days=days))
                )


def test_old_conversations_and_unjudged_replies_go_and_judged_ones_stay(
    any_client: TestClient, database_url: str, rows: Callable, tmp_path: Path
) -> None:
    old = say(any_client, "an old secret")
    judged = say(any_client, "an old question")
    any_client.post("/v1/ratings", json={"reply_id": judged["reply_id"], "thumb": -1, "comment": "no"})
    Owner(any_client).running(systems=[FAKE, HUMAN], n=2)
    age(any_client, 40)
    kept = say(any_client, "a new question")
    gone_on = say(any_client, "going on", old["conversation"])  # its last turn is new: the whole conversation stays
    assert gone_on["conversation"] == old["conversation"]
    upload = {"data": {"purpose": "batch"}, "files": {"file": ("new", b"a new secret")}}
    before = {table: rows(any_client, table) for table in ("judgement", "item")}

    said = retain(30, database_url=database_url)

    assert said == "deleted 1 conversations, 0 replies that nobody judged, 0 contexts, 0 files"
    assert {row["id"] for row in rows(any_client, "conversation")} == {old["conversation"], kept["conversation"]}
    any_client.post("/v1/files", **upload)
    age(any_client, 40)
    new = any_client.post("/v1/files", **upload).json()["id"]
    said = retain(30, state=tmp_path, database_url=database_url)
    assert [path.name for path in (tmp_path / "files").iterdir()] == [new]
    assert said == "deleted 2 conversations, 3 replies that nobody judged, 3 contexts, 1 files"
    assert rows(any_client, "turn") == []
    assert {table: rows(any_client, table) for table in before} == before
    texts = str(rows(any_client, "context")) + str(rows(any_client, "response"))
    assert "an old question" in texts  # judged, so it stays with its context
    assert "secret" not in texts
    assert "a new question" not in texts
    listed = any_client.get("/v1/ratings").json()["data"]
    assert [one["comment"] for one in listed] == ["no"]


@pytest.mark.parametrize("days", [-1, float("nan"), float("inf"), 1e9])
def test_an_impossible_time_is_refused(days: float) -> None:
    with pytest.raises(RejoinderError, match="--days"):
        retain(days)
