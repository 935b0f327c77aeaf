"""Studies as their owner sees them: drafted, filled with items, frozen by being started, watched, closed."""

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from app.audit.repository import OWNER, record
from app.database import now
from app.errors import ConflictError, NotFoundError
from app.idempotency import once
from app.studies import repository
from app.studies.design import share_of
from app.studies.protocol import Protocol
from app.studies.repository import ShownItem
from app.studies.schemas import (
    ItemEntry,
    ItemList,
    ItemSystem,
    Progress,
    PurposeProgress,
    StudyEntry,
    StudyList,
    StudyRequest,
)
from app.studies.tables import Dimension, Item, Study

if TYPE_CHECKING:
    from app.chat.tables import Response, System

CREATE = "POST /v1/studies"


def create(session: Session, body: StudyRequest, idempotency_key: str | None = None) -> StudyEntry:
    """Store a new draft. Raises ConflictError when there is a study of that name."""
    return once(session, CREATE, idempotency_key, body, StudyEntry, lambda: _create(session, body))


def _create(session: Session, body: StudyRequest) -> StudyEntry:
    added = repository.add_study(
        session,
        slug=body.slug,
        title=body.title,
        protocol=body.protocol.model_dump(),
        seed=body.seed,
        status="draft",
        created_at=now(),
    )
    if not added:
        raise ConflictError(f"there is a study {body.slug!r} already", param="slug", code="study_exists")
    study = repository.get_study(session, body.slug)
    repository.add_dimensions(
        session,
        [
            Dimension(study_id=study.id, position=position, name=one.name, anchors={**one.anchors})
            for position, one in enumerate(body.protocol.asked())
        ],
    )
    record(session, OWNER, "create", f"study/{study.slug}")
    return _entry(study, {})


def list_studies(session: Session) -> StudyList:
    """Return all studies, newest first."""
    found = repository.studies(session)
    counts = repository.count_purposes(session, [study.id for study in found])
    return StudyList(data=[_entry(study, counts[study.id]) for study in found])


def get(session: Session, slug: str) -> StudyEntry:
    """Return one study. Raises NotFoundError."""
    study = repository.get_study(session, slug)
    return _entry(study, repository.count_purposes(session, [study.id])[study.id])


def delete_draft(session: Session, slug: str) -> None:
    """Delete a draft. Raises NotFoundError, ConflictError for a study that runs or ran."""
    study = lock_draft(session, slug, "deleted")
    repository.delete_draft(session, study)
    record(session, OWNER, "delete", f"study/{slug}")


def lock_draft(session: Session, slug: str, action: str) -> Study:
    """Return a draft that nobody else can change now. Raises NotFoundError, ConflictError when it is frozen."""
    study = repository.lock_study(session, slug)
    if study.status != "draft":
        raise ConflictError(
            f"the study {slug!r} is {study.status}: only a draft can be {action}", param="study", code="study_frozen"
        )
    return study


def start(session: Session, slug: str) -> StudyEntry:
    """Freeze a draft and open it to its raters; the items that are met twice are drawn now.

    Starting it again changes nothing. Raises NotFoundError, ConflictError for a closed study or one that cannot be run.
    """
    study = repository.lock_study(session, slug)
    if study.status == "running":
        return get(session, slug)
    if study.status == "closed":
        raise ConflictError(f"the study {slug!r} is closed", param="study", code="study_closed")
    protocol = Protocol.model_validate(study.protocol)
    ordinary = repository.items_of(session, study.id, "normal")
    gold = repository.items_of(session, study.id, "gold")
    if not ordinary:
        raise ConflictError(f"the study {slug!r} has no items yet", param="study", code="study_empty")
    if bool(gold) != bool(protocol.gold_rate):
        raise ConflictError(
            f"the study {slug!r} has {len(gold)} gold items and gold_rate {protocol.gold_rate}: both or neither",
            param="study",
            code="study_gold",
        )
    _add_repeats(session, study, protocol, ordinary)
    study.status, study.started_at = "running", now()
    session.flush()
    record(session, OWNER, "start", f"study/{slug}", items=len(ordinary))
    return get(session, slug)


def _add_repeats(session: Session, study: Study, protocol: Protocol, ordinary: Sequence[Item]) -> None:
    wanted = min(len(ordinary), share_of(protocol.repeat_rate, len(ordinary)))
    position = repository.next_position(session, study.id)
    chosen = sorted(Random(study.seed).sample(range(len(ordinary)), wanted))
    repository.add_items(
        session,
        [
            Item(
                study_id=study.id,
                position=position + i,
                kind=ordinary[index].kind,
                purpose="repeat",
                context_id=ordinary[index].context_id,
                response_a_id=ordinary[index].response_a_id,
                response_b_id=ordinary[index].response_b_id,
                repeats_item_id=ordinary[index].id,
                target=protocol.k,
                done=0,
                status="open",
            )
            for i, index in enumerate(chosen)
        ],
    )


def close(session: Session, slug: str) -> StudyEntry:
    """End a study: what raters hold is taken back. Closing it again changes nothing.

    Raises NotFoundError, ConflictError for a draft.
    """
    study = repository.lock_study(session, slug)
    if study.status == "draft":
        raise ConflictError(
            f"the study {slug!r} is a draft: start it, or delete it", param="study", code="study_not_running"
        )
    if study.status == "running":
        study.status, study.closed_at = "closed", now()
        repository.end_leases(session, study.id)
        session.flush()
        record(session, OWNER, "close", f"study/{slug}")
    return get(session, slug)


def list_items(session: Session, slug: str, *, limit: int, after: int) -> ItemList:
    """Return a page of a study's items with their systems: not for raters' eyes. Raises NotFoundError."""
    study = repository.get_study(session, slug)
    found = repository.shown_items(session, study.id, limit=limit + 1, after=after)
    flags = repository.flags_of(session, [shown.item.id for shown in found])
    data = [_item(shown, flags.get(shown.item.id, [])) for shown in found[:limit]]
    return ItemList(data=data, last_id=data[-1].id if data else None, has_more=len(found) > limit)


def withdraw(session: Session, slug: str, item_id: int) -> None:
    """Give an item to nobody any more; what was judged of it stays. Raises NotFoundError."""
    study = repository.get_study(session, slug)
    item = repository.find_item(session, study.id, item_id)
    if item is None:
        raise NotFoundError(f"the study {slug!r} has no item {item_id}", param="item", code="item_not_found")
    if item.status != "withdrawn":
        item.status = "withdrawn"
        session.flush()
        record(session, OWNER, "withdraw", f"study/{slug}", item=item_id)


def progress(session: Session, slug: str) -> Progress:
    """Return how far a study is. Raises NotFoundError."""
    study = repository.get_study(session, slug)
    leased, skipped, flagged, active = repository.count_assignments(session, study.id, now())
    joined, agreed = repository.count_raters(session, study.id)
    return Progress(
        study=slug,
        status=study.status,
        complete=repository.is_complete(session, study.id),
        purposes={
            one.purpose: PurposeProgress(
                items=one.items, done_items=one.finished, judgements=one.judgements, wanted=one.wanted
            )
            for one in repository.progress_by_purpose(session, study.id)
        },
        open_leases=leased,
        skipped=skipped,
        flagged=flagged,
        withdrawn=repository.count_withdrawn(session, study.id),
        raters_joined=joined,
        raters_agreed=agreed,
        raters_active=active,
    )


def _entry(study: Study, items: dict[str, int]) -> StudyEntry:
    return StudyEntry(
        slug=study.slug,
        title=study.title,
        status=study.status,
        seed=study.seed,
        protocol=study.protocol,
        items=items,
        created=int(study.created_at.timestamp()),
        started=None if study.started_at is None else int(study.started_at.timestamp()),
        closed=None if study.closed_at is None else int(study.closed_at.timestamp()),
    )


def _item(shown: ShownItem, flags: Sequence[tuple[str, str | None]]) -> ItemEntry:
    item = shown.item
    b = None if shown.b is None or shown.b_system is None else _reply(shown.b, shown.b_system)
    return ItemEntry(
        id=item.id,
        kind=item.kind,
        purpose=item.purpose,
        status=item.status,
        target=item.target,
        done=item.done,
        messages=shown.context.messages,
        a=_reply(shown.a, shown.a_system),
        b=b,
        gold=item.gold,
        repeats=item.repeats_item_id,
        flags=[flag for flag, _ in flags],
        comments=[comment for _, comment in flags],
    )


def _reply(response: "Response", system: "System") -> ItemSystem:
    return ItemSystem(
        reply_id=response.id,
        text=response.text,
        system=system.name,
        kind=system.kind,
        weights_sha256=system.weights_sha256,
        decoding=system.decoding,
    )
