"""The SQL of what raters hold and how they judged it."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from app.chat.tables import Context, Response, System
from app.ratings.tables import Judgement
from app.studies.tables import Assignment, Item, Study


class ShownText(NamedTuple):
    """One reply and whose it is."""

    text: str
    system: str
    kind: str
    best_of: int | None


def share_study(session: Session, study_id: int) -> Study:
    """Return a study as it is now, and keep it from being closed until this transaction ends."""
    statement = select(Study).filter_by(id=study_id).with_for_update(read=True, key_share=True)
    return session.execute(statement.execution_options(populate_existing=True)).scalar_one()


def find_assignment(session: Session, rater_id: int, lease_token: str) -> Assignment | None:
    """Return what a rater was given under a lease, if it is theirs."""
    statement = select(Assignment).filter_by(lease_token=lease_token, rater_id=rater_id)
    return session.scalar(statement.execution_options(populate_existing=True))


def messages(session: Session, item: Item) -> list[dict[str, str]]:
    """Return the history that an item shows."""
    return session.execute(select(Context.messages).where(Context.id == item.context_id)).scalar_one()


def replies(session: Session, item: Item) -> list[ShownText]:
    """Return an item's replies, a first."""
    found = {
        response_id: ShownText(text, system, kind, decoding.get("best_of"))
        for response_id, text, system, kind, decoding in session.execute(
            select(Response.id, Response.text, System.name, System.kind, System.decoding)
            .join(System, System.id == Response.system_id)
            .where(Response.id.in_([one for one in (item.response_a_id, item.response_b_id) if one is not None]))
        )
    }
    return [found[one] for one in (item.response_a_id, item.response_b_id) if one is not None]


def live_judgements(session: Session, assignment_id: int) -> dict[str, Judgement]:
    """Return the judgements of an assignment that no other supersedes, by dimension, in their order."""
    later = aliased(Judgement)
    rows = session.scalars(
        select(Judgement)
        .outerjoin(later, later.supersedes == Judgement.id)
        .where(Judgement.assignment_id == assignment_id, later.id.is_(None))
        .order_by(Judgement.id)
    )
    return {one.dimension: one for one in rows}


def add(session: Session, judgements: Sequence[Judgement]) -> None:
    """Store `judgements` and give them their ids."""
    session.add_all(judgements)
    session.flush()


def count_since(session: Session, rater_id: int, since: datetime) -> int:
    """Return how many items a rater judged from a moment on."""
    statement = select(func.count()).select_from(Assignment)
    return (
        session.scalar(
            statement.where(
                Assignment.rater_id == rater_id, Assignment.state == "done", Assignment.finished_at >= since
            )
        )
        or 0
    )


def count_judged(session: Session, rater_id: int) -> int:
    """Return how many items a rater judged."""
    statement = select(func.count()).select_from(Assignment)
    return session.scalar(statement.where(Assignment.rater_id == rater_id, Assignment.state == "done")) or 0
