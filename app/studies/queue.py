"""The lease queue: which item a rater gets next, and the counts that let no item have more than its k raters.

Every function here runs in a transaction that may write. Locks are taken in one order, first the rater, then one item,
so nobody waits in a circle. On PostgreSQL an item is locked (others skip it) and its raters are *then* counted in a
statement of its own, which sees what committed since; on SQLite the whole transaction has the database to itself.
Tried with 12 raters and read-then-insert instead, one item got 8 raters for a target of 3.
"""

import secrets
from datetime import datetime, timedelta
from random import Random
from typing import Final

from sqlalchemy import Select, and_, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from app.raters.tables import Rater
from app.studies.protocol import Protocol
from app.studies.tables import Assignment, Item, Study

REPEAT_GAP: Final = 5
"""Other items between an item and its repeat, while there are any."""
TRIES: Final = 20
"""Items that turned out to be full by the time they were locked, before the rater is told to wait."""

# Made once: an alias works out all its columns anew, which took half the time of a request.
_SEEN: Final = aliased(Assignment)
_OTHER_ITEM: Final = aliased(Item)
_FIRST: Final = aliased(Assignment)
_OWN: Final = aliased(Assignment)
_LATER: Final = aliased(Assignment)
_OTHERS: Final = aliased(Assignment)


def open_lease(session: Session, rater: Rater, at: datetime) -> Assignment | None:
    """Return what the rater holds; a lease that has run out is taken back first."""
    held = session.scalar(select(Assignment).filter_by(rater_id=rater.id, state="leased"))
    if held is not None and held.expires_at <= at:
        held.state = "expired"
        session.flush()
        return None
    return held


def lease(
    session: Session, study: Study, protocol: Protocol, rater: Rater, at: datetime, rng: Random
) -> Assignment | None:
    """Give the rater, who holds nothing, an item, or None when there is none for them now.

    Gold comes by chance at its rate; a repeat as soon as it is far enough from its original; otherwise the item that
    lacks fewest judgements, drawn among equals. A context is never met twice but by a repeat or an expired lease.
    """
    ordinary = _with_room(_unseen(study, rater).where(Item.purpose.in_(("normal", "aa"))), at)
    repeats = [_repeats(study, rater, at, gap) for gap in (REPEAT_GAP, 0)] if protocol.repeat_rate else []
    kinds = repeats[:1]
    # No gold for those who only wait for ordinary work: it would come at every question, not at its rate.
    if rng.random() < protocol.gold_rate and session.scalar(ordinary.with_only_columns(Item.id).limit(1)) is not None:
        kinds.append(_unseen(study, rater).where(Item.purpose == "gold"))
    kinds += [ordinary, *repeats[1:]]
    for statement in kinds:
        item = _lock_one(session, statement, rater, at)
        if item is not None:
            return _assign(session, item, rater, at, timedelta(seconds=protocol.lease_seconds), rng)
    return None


def may_come_free(session: Session, study: Study, rater: Rater) -> bool:
    """Say whether an item that the rater has not met is only held by others, who may give it back."""
    waiting = _unseen(study, rater).where(Item.purpose.in_(("normal", "aa"))).with_only_columns(Item.id)
    return session.scalar(waiting.order_by(None).limit(1)) is not None


def count_waiting(session: Session, study: Study, rater: Rater, at: datetime) -> int:
    """Return how many ordinary and A/A items the rater could be given at this moment."""
    if study.status != "running":
        return 0
    ordinary = _with_room(_unseen(study, rater).where(Item.purpose.in_(("normal", "aa"))), at)
    return session.scalar(select(func.count()).select_from(ordinary.order_by(None).subquery())) or 0


def lock_item(session: Session, item_id: int) -> Item:
    """Return an item as it is now, and keep others from being counted for it until this transaction ends."""
    statement = select(Item).filter_by(id=item_id).with_for_update().execution_options(populate_existing=True)
    return session.execute(statement).scalar_one()


def count_done(session: Session, item: Item) -> int:
    """Return how many raters judged an item that this transaction has locked."""
    return session.scalar(_assignments(item).where(Assignment.state == "done")) or 0


def has_room(session: Session, item: Item, rater_id: int, at: datetime) -> bool:
    """Say whether those who judged or hold an item, which this transaction has locked, leave room for a rater."""
    if item.target is None:
        return True
    taken = session.scalar(
        _assignments(item).where(
            Assignment.rater_id != rater_id,
            or_(Assignment.state == "done", and_(Assignment.state == "leased", Assignment.expires_at > at)),
        )
    )
    return (taken or 0) < item.target


def _assignments(item: Item) -> Select[int]:
    return select(func.count()).select_from(Assignment).where(Assignment.item_id == item.id)


def _unseen(study: Study, rater: Rater) -> Select[Item]:
    """Return the open items whose context the rater has not met, and those whose lease ran out in their hands."""
    met = exists().where(
        _SEEN.rater_id == rater.id,
        _OTHER_ITEM.id == _SEEN.item_id,
        _OTHER_ITEM.context_id == Item.context_id,
        or_(_SEEN.item_id != Item.id, _SEEN.state != "expired"),
    )
    return (
        select(Item)
        .where(Item.study_id == study.id, Item.status == "open", ~met)
        .order_by(Item.done.desc(), func.random())
    )


def _repeats(study: Study, rater: Rater, at: datetime, gap: int) -> Select[Item]:
    """Return the repeats of what the rater judged at least `gap` items ago, oldest first."""
    since = (
        select(func.count())
        .select_from(_LATER)
        .where(_LATER.rater_id == rater.id, _LATER.state == "done", _LATER.finished_at > _FIRST.finished_at)
        .scalar_subquery()
    )
    met = exists().where(_OWN.rater_id == rater.id, _OWN.item_id == Item.id, _OWN.state != "expired")
    judged_first = and_(_FIRST.item_id == Item.repeats_item_id, _FIRST.rater_id == rater.id, _FIRST.state == "done")
    statement = (
        select(Item)
        .join(_FIRST, judged_first)
        .where(Item.study_id == study.id, Item.status == "open", ~met, since >= gap)
        .order_by(_FIRST.finished_at)
    )
    return _with_room(statement, at)


def _with_room(statement: Select[Item], at: datetime) -> Select[Item]:
    """Leave out the items that look full: only a guess, since they are not locked yet."""
    held = (
        select(func.count())
        .select_from(_OTHERS)
        .where(_OTHERS.item_id == Item.id, _OTHERS.state == "leased", _OTHERS.expires_at > at)
        .scalar_subquery()
    )
    return statement.where(Item.done + held < Item.target)


def _lock_one(session: Session, statement: Select[Item], rater: Rater, at: datetime) -> Item | None:
    """Return the first item that has room, locked; items that others have locked are skipped."""
    full: list[int] = []
    for _ in range(TRIES):
        locking = statement.limit(1).with_for_update(of=Item, skip_locked=True)
        item = session.scalar(locking.where(Item.id.not_in(full)).execution_options(populate_existing=True))
        if item is None:
            return None
        if has_room(session, item, rater.id, at):  # counted again, in a new statement, now that nobody else can take it
            return item
        full.append(item.id)
    return None


def _assign(session: Session, item: Item, rater: Rater, at: datetime, lasts: timedelta, rng: Random) -> Assignment:
    assignment = session.scalar(select(Assignment).filter_by(item_id=item.id, rater_id=rater.id))
    if assignment is None:
        assignment = Assignment(item_id=item.id, rater_id=rater.id, swapped=_swapped(session, item, rater, rng))
        session.add(assignment)
    assignment.state = "leased"
    assignment.lease_token = secrets.token_urlsafe(24)
    assignment.leased_at = at
    assignment.expires_at = at + lasts
    session.flush()
    return assignment


def _swapped(session: Session, item: Item, rater: Rater, rng: Random) -> bool:
    """Draw whether b stands on the left; a repeat has its sides the other way round."""
    if item.response_b_id is None:
        return False
    if item.repeats_item_id is not None:
        first = session.scalar(select(Assignment.swapped).filter_by(item_id=item.repeats_item_id, rater_id=rater.id))
        return not first
    return rng.random() < 0.5
