"""The SQL of studies and their items, as their owner sees them."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import case, delete, func, select, update
from sqlalchemy.orm import Session, aliased

from app.chat.tables import Context, Response, System
from app.database import insert_if_absent
from app.errors import NotFoundError
from app.raters.tables import Invitation, Rater
from app.studies.tables import Assignment, Dimension, Item, Study


class ShownItem(NamedTuple):
    """An item with all that belongs to it; b is None where there is one reply."""

    item: Item
    context: Context
    a: Response
    a_system: System
    b: Response | None
    b_system: System | None


def add_study(session: Session, **values: object) -> bool:
    """Store a study, and say whether its slug was free; waits for whoever takes the same one just now."""
    return insert_if_absent(session, Study, **values)


def add_dimensions(session: Session, dimensions: Sequence[Dimension]) -> None:
    """Store `dimensions`."""
    session.add_all(dimensions)
    session.flush()


def find_study(session: Session, slug: str) -> Study | None:
    """Return the study called `slug`, if there is one."""
    return session.scalar(select(Study).filter_by(slug=slug))


def get_study(session: Session, slug: str) -> Study:
    """Return the study called `slug`. Raises NotFoundError."""
    study = find_study(session, slug)
    if study is None:
        raise NotFoundError(f"there is no study {slug[:100]!r}", param="study", code="study_not_found")
    return study


def lock_study(session: Session, slug: str) -> Study:
    """Return a study, and keep others from changing it until this transaction ends. Raises NotFoundError."""
    get_study(session, slug)
    statement = select(Study).filter_by(slug=slug).with_for_update().execution_options(populate_existing=True)
    return session.execute(statement).scalar_one()


def studies(session: Session) -> list[Study]:
    """Return all studies, newest first."""
    return list(session.scalars(select(Study).order_by(Study.id.desc())))


def delete_draft(session: Session, study: Study) -> None:
    """Delete a study that never ran; replies that were drawn for it stay."""
    invitations = select(Invitation.id).where(Invitation.study_id == study.id)
    session.execute(delete(Rater).where(Rater.invitation_id.in_(invitations)))
    for table in (Invitation, Item, Dimension):
        session.execute(delete(table).where(table.study_id == study.id))
    session.delete(study)
    session.flush()


def dimensions(session: Session, study_id: int) -> list[Dimension]:
    """Return the dimensions of a study in their order."""
    return list(session.scalars(select(Dimension).filter_by(study_id=study_id).order_by(Dimension.position)))


def count_purposes(session: Session, study_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """Return how many items of each purpose each study has."""
    counts: dict[int, dict[str, int]] = {study_id: {} for study_id in study_ids}
    statement = (
        select(Item.study_id, Item.purpose, func.count())
        .where(Item.study_id.in_(study_ids))
        .group_by(Item.study_id, Item.purpose)
    )
    for study_id, purpose, count in session.execute(statement):
        counts[study_id][purpose] = count
    return counts


def note_sources(session: Session, sources: Sequence[tuple[int, str | None, str | None]]) -> None:
    """Say where contexts were taken from, unless that is known already: (context id, source, split)."""
    for context_id, source, split in sources:
        if source is not None or split is not None:
            session.execute(
                update(Context)
                .where(Context.id == context_id, Context.source.is_(None), Context.split.is_(None))
                .values(source=source, split=split)
            )


def next_position(session: Session, study_id: int) -> int:
    """Return the first position that no item of the study has."""
    return (session.scalar(select(func.max(Item.position)).filter_by(study_id=study_id)) or 0) + 1


def add_items(session: Session, items: Sequence[Item]) -> None:
    """Store `items`."""
    session.add_all(items)
    session.flush()


def items_of(session: Session, study_id: int, purpose: str) -> list[Item]:
    """Return the items of one purpose in their order."""
    return list(session.scalars(select(Item).filter_by(study_id=study_id, purpose=purpose).order_by(Item.position)))


def find_item(session: Session, study_id: int, item_id: int) -> Item | None:
    """Return an item of a study, and keep others from judging it until this transaction ends."""
    return session.scalar(select(Item).filter_by(study_id=study_id, id=item_id).with_for_update())


def shown_items(session: Session, study_id: int, *, limit: int, after: int) -> list[ShownItem]:
    """Return up to `limit` items whose ids are above `after`."""
    b, b_system = aliased(Response), aliased(System)
    statement = (
        select(Item, Context, Response, System, b, b_system)
        .join(Context, Context.id == Item.context_id)
        .join(Response, Response.id == Item.response_a_id)
        .join(System, System.id == Response.system_id)
        .outerjoin(b, b.id == Item.response_b_id)
        .outerjoin(b_system, b_system.id == b.system_id)
        .where(Item.study_id == study_id, Item.id > after)
        .order_by(Item.id)
        .limit(limit)
    )
    return [ShownItem(*row) for row in session.execute(statement)]


def flags_of(session: Session, item_ids: Sequence[int]) -> dict[int, list[tuple[str, str | None]]]:
    """Return what raters say is wrong with each of the items: flags, each with its comment."""
    flags: dict[int, list[tuple[str, str | None]]] = {}
    statement = select(Assignment.item_id, Assignment.flag, Assignment.flag_comment).where(
        Assignment.item_id.in_(item_ids), Assignment.flag.is_not(None)
    )
    for item_id, flag, comment in session.execute(statement.order_by(Assignment.id)):
        flags.setdefault(item_id, []).append((str(flag), comment))
    return flags


class PurposeCount(NamedTuple):
    """How far the items of one purpose are; `wanted` is None for gold."""

    purpose: str
    items: int
    finished: int
    judgements: int
    wanted: int | None


def progress_by_purpose(session: Session, study_id: int) -> list[PurposeCount]:
    """Return how far the items of each purpose are, those that were withdrawn left out."""
    statement = (
        select(
            Item.purpose,
            func.count(),
            func.sum(case((Item.status == "done", 1), else_=0)),
            func.sum(Item.done),
            func.sum(Item.target),
        )
        .where(Item.study_id == study_id, Item.status != "withdrawn")
        .group_by(Item.purpose)
    )
    return [PurposeCount._make(row) for row in session.execute(statement)]


def count_withdrawn(session: Session, study_id: int) -> int:
    """Return how many items were withdrawn."""
    return session.scalar(select(func.count()).select_from(Item).filter_by(study_id=study_id, status="withdrawn")) or 0


def count_assignments(session: Session, study_id: int, at: datetime) -> tuple[int, int, int, int]:
    """Return how many leases are open, how many items were skipped and flagged, and how many raters judged any."""
    ours = select(func.count()).select_from(Assignment).join(Item).where(Item.study_id == study_id)
    raters = select(func.count(Assignment.rater_id.distinct())).join(Item).where(Item.study_id == study_id)
    leased = session.scalar(ours.where(Assignment.state == "leased", Assignment.expires_at > at))
    skipped = session.scalar(ours.where(Assignment.state == "skipped"))
    flagged = session.scalar(ours.where(Assignment.flag.is_not(None)))
    active = session.scalar(raters.where(Assignment.state == "done"))
    return leased or 0, skipped or 0, flagged or 0, active or 0


def count_raters(session: Session, study_id: int) -> tuple[int, int]:
    """Return how many raters joined a study and how many agreed to take part."""
    statement = (
        select(func.count(), func.count(Rater.consented_at))
        .join(Invitation, Invitation.id == Rater.invitation_id)
        .where(Invitation.study_id == study_id)
    )
    joined, agreed = session.execute(statement).one()
    return joined, agreed


def end_leases(session: Session, study_id: int) -> None:
    """Take back what raters of a study still hold."""
    items = select(Item.id).where(Item.study_id == study_id)
    session.execute(
        update(Assignment)
        .where(Assignment.item_id.in_(items), Assignment.state == "leased")
        .values(state="expired")
        .execution_options(synchronize_session=False)
    )


def is_complete(session: Session, study_id: int) -> bool:
    """Say whether there are ordinary and A/A items and all have their k judgements, those withdrawn left out."""
    ordinary = (
        select(func.count()).select_from(Item).where(Item.study_id == study_id, Item.purpose.in_(("normal", "aa")))
    )
    finished = session.scalar(ordinary.where(Item.status == "done"))
    return bool(finished) and not session.scalar(ordinary.where(Item.status == "open"))
