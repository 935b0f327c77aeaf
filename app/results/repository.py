"""The SQL of analyses: what they read, and how they are kept."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Select, func, select, text
from sqlalchemy.orm import Session, aliased

from app.chat.tables import Response, System
from app.raters.tables import Rater
from app.ratings.tables import Judgement
from app.results.evidence import Evidence, SystemRow
from app.results.tables import AnalysisRun, Exclusion, QualityEvent
from app.studies.tables import Assignment, Item, Study


def last_judgement(session: Session, study_id: int | None) -> int:
    """Return the id of the newest judgement, of one study's items or of all; every lower one is there to be read.

    Without the lock PostgreSQL may show a judgement whose id is higher than that of one not yet committed. It is held
    until the session ends. On SQLite writers come one after the other, and so do their ids.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("LOCK TABLE judgement IN SHARE MODE"))
    statement = select(func.max(Judgement.id))
    if study_id is not None:
        statement = _of_items(statement).where(Item.study_id == study_id)
    return session.scalar(statement) or 0


def withdrawn_items(session: Session, study_id: int | None) -> list[int]:
    """Return the items, of one study or of all, that were taken out because something is wrong with them."""
    statement = select(Item.id).where(Item.status == "withdrawn").order_by(Item.id)
    return list(session.scalars(statement if study_id is None else statement.where(Item.study_id == study_id)))


def evidence(session: Session, study_id: int | None, up_to: int, without_items: Collection[int] = ()) -> list[Evidence]:
    """Return the judgements of items that were live when the judgement `up_to` was the newest, oldest first."""
    b, later = aliased(Response), aliased(Judgement)
    statement = (
        select(
            Judgement.id,
            Judgement.kind,
            Judgement.dimension,
            Judgement.value,
            Judgement.choice,
            Judgement.side,
            Judgement.dwell_ms,
            Judgement.assignment_id,
            Judgement.rater_id,
            Item.id,
            Item.purpose,
            Item.gold,
            Item.repeats_item_id,
            Item.context_id,
            Response.system_id,
            b.system_id,
            func.length(Response.text),
            func.length(b.text),
            Item.study_id,
        )
        .select_from(Judgement)
        .join(Assignment, Assignment.id == Judgement.assignment_id)
        .join(Item, Item.id == Assignment.item_id)
        .join(Response, Response.id == Item.response_a_id)
        .outerjoin(b, b.id == Item.response_b_id)
        .outerjoin(later, (later.supersedes == Judgement.id) & (later.id <= up_to))
        .where(Judgement.id <= up_to, later.id.is_(None))
        .order_by(Judgement.id)
    )
    if study_id is not None:
        statement = statement.where(Item.study_id == study_id)
    out = set(without_items)
    rows = (Evidence._make(row) for row in session.execute(statement.execution_options(yield_per=1000)))
    return [row for row in rows if row.item not in out]


def thumbs(session: Session, up_to: int) -> list[tuple[int, int, int]]:
    """Return (system, up, down): the thumbs that were live when the judgement `up_to` was the newest."""
    later = aliased(Judgement)
    statement = (
        select(Response.system_id, func.count().filter(Judgement.value > 0), func.count().filter(Judgement.value < 0))
        .select_from(Judgement)
        .join(Response, Response.id == Judgement.response_id)
        .outerjoin(later, (later.supersedes == Judgement.id) & (later.id <= up_to))
        .where(Judgement.kind == "thumb", Judgement.id <= up_to, later.id.is_(None))
        .group_by(Response.system_id)
        .order_by(Response.system_id)
    )
    return [(system, up, down) for system, up, down in session.execute(statement)]


def systems(session: Session, ids: Iterable[int]) -> list[SystemRow]:
    """Return the systems with these ids, in the order of the ids."""
    wanted = set(ids)
    return [system for system in all_systems(session) if system.id in wanted]


def all_systems(session: Session) -> list[SystemRow]:
    """Return every system."""
    columns = select(System.id, System.name, System.kind, System.weights_sha256, System.decoding)
    return [SystemRow._make(row) for row in session.execute(columns.order_by(System.id))]


def systems_of_study(session: Session, study_id: int) -> list[int]:
    """Return the ids of the systems that the study's ordinary items show."""
    statement = (
        select(Response.system_id)
        .join(Item, (Item.response_a_id == Response.id) | (Item.response_b_id == Response.id))
        .where(Item.study_id == study_id, Item.purpose == "normal")
        .distinct()
    )
    return sorted(session.scalars(statement))


def public_ids(session: Session, rater_ids: Iterable[int]) -> dict[int, str]:
    """Return the public ids of raters."""
    statement = select(Rater.id, Rater.public_id).where(Rater.id.in_(set(rater_ids)))
    return {row.id: row.public_id for row in session.execute(statement)}


def studies_with_judgements(session: Session, up_to: int) -> list[Study]:
    """Return the studies that had a judgement when the judgement `up_to` was the newest."""
    judged = _of_items(select(Item.study_id)).where(Judgement.id <= up_to)
    return list(session.scalars(select(Study).where(Study.id.in_(judged)).order_by(Study.id)))


def get_study_by_id(session: Session, study_id: int) -> Study:
    """Return a study that is known to exist."""
    return session.get_one(Study, study_id)


def newest_run(session: Session, study_id: int | None) -> AnalysisRun | None:
    """Return the last analysis of a study, or of everything."""
    return session.scalar(
        select(AnalysisRun)
        .where(AnalysisRun.study_id.is_not_distinct_from(study_id))
        .order_by(AnalysisRun.id.desc())
        .limit(1)
    )


def find_run(session: Session, run_id: int) -> AnalysisRun | None:
    """Return a stored analysis, if there is one of that id."""
    return session.get(AnalysisRun, run_id)


def last_outcomes(session: Session, study_id: int) -> dict[tuple[int, str, str | None], str]:
    """Return how each check of each rater came out last, by rater, check and question."""
    newest = select(QualityEvent).filter_by(study_id=study_id).order_by(QualityEvent.id)
    return {(one.rater_id, one.kind, one.detail["question"]): one.outcome for one in session.scalars(newest)}


def add_run(
    session: Session, run: AnalysisRun, events: Sequence[QualityEvent], excluded: Sequence[dict[str, Any]]
) -> None:
    """Store an analysis, the verdicts on raters that it reached, and whom it left out; gives it its id."""
    session.add(run)
    session.flush()
    session.add_all(events)
    session.add_all([Exclusion(analysis_run_id=run.id, **one) for one in excluded])
    session.flush()


def _of_items(statement: Select[Any]) -> Select[Any]:
    return (
        statement.select_from(Judgement)
        .join(Assignment, Assignment.id == Judgement.assignment_id)
        .join(Item, Item.id == Assignment.item_id)
    )
