"""Raters who judge everything at once, straight in the database: the queue has tests of its own."""

import secrets
from collections.abc import Callable
from datetime import timedelta

from fastapi.testclient import TestClient
from sqlalchemy import select

from app.chat.tables import Response
from app.database import Database, now
from app.raters.tables import Rater
from app.ratings.tables import Judgement
from app.studies.tables import Assignment, Item, Study
from tests.app.people import HUMAN, OTHER, Json, Owner, RaterClient

THIRD = {"kind": "replies", "name": "third"}

Choose = Callable[[int, list[str]], dict[str, object]]
"""The columns of the judgement of the n-th item, whose replies are shown from left to right."""


def contexts(n: int) -> list[Json]:
    return [
        {
            "turns": [f"question {i}?"],
            "reply": f"human answer {i}",
            "replies": {"other": f"other answer {i}", "third": f"third {i}"},
        }
        for i in range(n)
    ]


def running(client: TestClient, *, k: int = 5, n: int = 12, **more: object) -> Owner:
    """Start a study of pairs."""
    return Owner(client).running(systems=[HUMAN, OTHER, THIRD], n=contexts(n), k=k, **more)


def judge_all(rater: RaterClient, choose: Choose, *, dwell_ms: int = 2000, comment: str | None = None) -> int:
    """Judge every item of the rater's study once, sides swapped at every second one; return how many."""
    database: Database = rater.client.app.state.database
    with database.writing() as session:
        rater_id = session.execute(select(Rater.id).filter_by(public_id=rater.public_id)).scalar_one()
        study_id = session.execute(select(Study.id).filter_by(slug=rater.slug)).scalar_one()
        items = list(session.scalars(select(Item).filter_by(study_id=study_id).order_by(Item.position)))
        for n, item in enumerate(items):
            swapped = (n + rater_id) % 2 == 1
            assignment = Assignment(
                item_id=item.id,
                rater_id=rater_id,
                state="done",
                swapped=swapped,
                lease_token=secrets.token_hex(20),
                leased_at=now(),
                expires_at=now() + timedelta(minutes=1),
                finished_at=now(),
            )
            session.add(assignment)
            session.flush()
            ids = [item.response_a_id] if item.response_b_id is None else [item.response_a_id, item.response_b_id]
            texts = {one.id: one.text for one in session.scalars(select(Response).where(Response.id.in_(ids)))}
            shown = [texts[one] for one in (reversed(ids) if swapped else ids)]
            given = choose(n, shown)
            scores = given.pop("scores", {"": None})
            if given.get("choice") in ("left", "right"):
                given["choice"] = "ab"[(given["choice"] == "right") != swapped]
            for dimension, value in scores.items():
                session.add(
                    Judgement(
                        assignment_id=assignment.id,
                        rater_id=rater_id,
                        kind=item.kind,
                        dimension=dimension,
                        value=value,
                        side=None if item.kind != "pair" else "right" if swapped else "left",
                        blind=True,
                        dwell_ms=dwell_ms,
                        comment=comment,
                        created_at=now(),
                        **given,
                    )
                )
    return len(items)


def preferring(best: str, *, often: int = 3) -> Choose:
    """Return how a rater chooses who likes the reply that begins with `best`, but every `often`-th time the other."""

    def choose(n: int, shown: list[str]) -> dict[str, object]:
        # Each pair of systems comes up at every third item, so that thirds of n say how often it came up.
        likes = [text.startswith(best) for text in shown]
        left = likes[0] if any(likes) else (n // 3) % 2 == 0
        if n // 3 % often == often - 1:
            left = not left
        return {"choice": "left" if left else "right"}

    return choose


def prefer(rater: RaterClient, best: str, *, often: int = 3, **more: object) -> int:
    """Judge everything as `preferring` says."""
    return judge_all(rater, preferring(best, often=often), **more)
