"""A rater's work: the next task, and what becomes of it. Every call can be repeated without counting twice."""

import math
from datetime import datetime, timedelta
from random import Random
from typing import Any

from sqlalchemy.orm import Session

from app.database import now
from app.errors import BadRequestError, ConflictError, NotFoundError, UnauthorizedError
from app.judging import repository
from app.judging.schemas import (
    AskedDimension,
    Flagged,
    FlagRequest,
    Judged,
    JudgementRequest,
    NextTask,
    Revealed,
    ShownReply,
    Skipped,
    SkipRequest,
    Task,
)
from app.raters import repository as raters_repository
from app.raters.service import identify_agreed
from app.raters.tables import Rater
from app.ratings.tables import Judgement
from app.studies import queue
from app.studies.protocol import Protocol
from app.studies.tables import Assignment, Item, Study

CHOICES = {"pair": ["left", "right", "tie", "both_bad"], "turing": ["human", "machine"], "scale": []}
WAIT_SECONDS = 30
"""How soon a rater may ask again while others hold the rest."""


class _Desk:
    """A rater at work in a running study, theirs alone until the transaction ends."""

    def __init__(self, session: Session, slug: str, token: str | None) -> None:
        found = identify_agreed(session, slug, token)
        self.study: Study = repository.share_study(session, found.study.id)
        if self.study.status != "running":
            raise ConflictError(
                f"the study {slug!r} is {'closed' if self.study.status == 'closed' else 'not open yet'}",
                code=f"study_{self.study.status}",
            )
        self.rater: Rater = raters_repository.lock_rater(session, found.rater.id)
        if self.rater.erased_at is not None:  # while this request waited
            raise UnauthorizedError("this rater was erased", code="no_session")
        self.protocol = Protocol.model_validate(self.study.protocol)


def next_task(session: Session, slug: str, token: str | None, rng: Random) -> NextTask:
    """Return what the rater holds, or give them something, or say why not.

    Raises UnauthorizedError, ForbiddenError, NotFoundError, or ConflictError for a study that is not running.
    """
    desk, at = _Desk(session, slug, token), now()
    held = queue.open_lease(session, desk.rater, at)
    judged = repository.count_judged(session, desk.rater.id)
    if held is None:
        midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
        cap = desk.protocol.daily_cap
        if cap is not None and repository.count_since(session, desk.rater.id, midnight) >= cap:
            seconds = math.ceil((midnight + timedelta(days=1) - at).total_seconds())
            return NextTask(task=None, reason="daily_cap", retry_after=seconds, judged=judged)
        held = queue.lease(session, desk.study, desk.protocol, desk.rater, at, rng)
    if held is not None:
        return NextTask(task=shown_task(session, held, desk.protocol), reason=None, retry_after=None, judged=judged)
    if queue.may_come_free(session, desk.study, desk.rater):
        seconds = min(WAIT_SECONDS, desk.protocol.lease_seconds)
        return NextTask(task=None, reason="wait", retry_after=seconds, judged=judged)
    return NextTask(task=None, reason="done", retry_after=None, judged=judged)


def judge(session: Session, slug: str, token: str | None, body: JudgementRequest) -> Judged:
    """Store a verdict. The same one sent again is answered again; another one supersedes it unless names were revealed.

    Raises as `next_task` does, NotFoundError for a lease that is not the rater's, BadRequestError for an answer that
    the study does not ask for, ConflictError when the lease has run out and others took the item, when it was skipped,
    or when the systems were named already.
    """
    desk, at = _Desk(session, slug, token), now()
    assignment = _assignment(session, desk.rater, body.lease)
    item = queue.lock_item(session, assignment.item_id)
    answers = _answers(body, desk.protocol, assignment)
    live = repository.live_judgements(session, assignment.id)
    if assignment.state == "skipped":
        raise ConflictError("this item was skipped", param="lease", code="skipped")
    if assignment.state == "done":
        if _says(live) == _stated(answers, body.comment):
            return _judged(session, desk, assignment, item, [one.id for one in live.values()])
        if desk.protocol.reveal:
            raise ConflictError(
                "the systems were named after the first judgement: it cannot be changed any more",
                param="lease",
                code="already_revealed",
            )
    elif not _still_theirs(session, assignment, item, at):
        raise ConflictError(
            "the lease has run out and others have taken the item; ask for the next one",
            param="lease",
            code="lease_expired",
        )
    judgements = [
        Judgement(
            assignment_id=assignment.id,
            rater_id=desk.rater.id,
            kind=item.kind,
            dimension=dimension,
            side=None if item.kind != "pair" else "right" if assignment.swapped else "left",
            blind=True,
            dwell_ms=_dwell(body.dwell_ms, assignment, at),
            comment=None if position else body.comment,
            supersedes=live[dimension].id if dimension in live else None,
            created_at=at,
            **answer,
        )
        for position, (dimension, answer) in enumerate(answers.items())
    ]
    repository.add(session, judgements)
    if assignment.state != "done":
        item.done = queue.count_done(session, item) + 1
        if item.done == item.target and item.status == "open":
            item.status = "done"
        assignment.state, assignment.finished_at = "done", at
        session.flush()
    return _judged(session, desk, assignment, item, [one.id for one in judgements])


def describe_judged(session: Session, slug: str, token: str | None, lease: str) -> Judged:
    """Return what was judged under a lease, names included where the study reveals them.

    Raises as `next_task` does, NotFoundError for a lease that is not the rater's or not judged.
    """
    desk = _Desk(session, slug, token)
    assignment = _assignment(session, desk.rater, lease)
    if assignment.state != "done":
        raise NotFoundError("this item is not judged yet", param="lease", code="not_judged")
    ids = [one.id for one in repository.live_judgements(session, assignment.id).values()]
    return _judged(session, desk, assignment, session.get_one(Item, assignment.item_id), ids)


def skip(session: Session, slug: str, token: str | None, body: SkipRequest) -> Skipped:
    """Give an item back for good. Raises as `next_task` does, NotFoundError, ConflictError for a judged item."""
    desk, at = _Desk(session, slug, token), now()
    assignment = _assignment(session, desk.rater, body.lease)
    if assignment.state == "done":
        raise ConflictError("this item was judged already", param="lease", code="already_judged")
    if assignment.state != "skipped":
        assignment.state, assignment.finished_at, assignment.skip_reason = "skipped", at, body.reason
        session.flush()
    return Skipped(lease=body.lease, reason=assignment.skip_reason or "")


def flag(session: Session, slug: str, token: str | None, body: FlagRequest) -> Flagged:
    """Note what is wrong with an item; the last word counts. Raises as `next_task` does, NotFoundError."""
    desk = _Desk(session, slug, token)
    assignment = _assignment(session, desk.rater, body.lease)
    assignment.flag, assignment.flag_comment = body.flag, body.comment
    session.flush()
    return Flagged(lease=body.lease, flag=body.flag)


def _assignment(session: Session, rater: Rater, lease: str) -> Assignment:
    assignment = repository.find_assignment(session, rater.id, lease)
    if assignment is None:
        raise NotFoundError(
            "this session holds no such lease; ask for the next item", param="lease", code="lease_not_found"
        )
    return assignment


def _still_theirs(session: Session, assignment: Assignment, item: Item, at: datetime) -> bool:
    """Say whether a judgement counts: in time, or late while nobody else has taken the place."""
    if assignment.state == "leased" and assignment.expires_at > at:
        return True
    return item.status == "open" and queue.has_room(session, item, assignment.rater_id, at)


def _answers(body: JudgementRequest, protocol: Protocol, assignment: Assignment) -> dict[str, dict[str, Any]]:
    """Return the columns of each judgement by its dimension, "" where there is none."""
    if protocol.kind == "scale":
        if body.choice is not None:
            raise BadRequestError("choice: this study asks for scores", param="choice")
        names = [one.name for one in protocol.asked()]
        scores = body.scores or {}
        for name in scores:
            if name not in names:
                raise BadRequestError(
                    f"scores: {name!r} is not asked; expected {', '.join(names)}",
                    param="scores",
                    code="unknown_dimension",
                )
        missing = [name for name in names if name not in scores]
        if missing:
            raise BadRequestError(f"scores: {', '.join(missing)} must be scored too", param="scores")
        return {name: {"value": scores[name]} for name in names}
    if body.scores is not None:
        raise BadRequestError("scores: this study asks for a choice", param="scores")
    choices = CHOICES[protocol.kind]
    if body.choice not in choices:
        raise BadRequestError(f"choice: must be one of {', '.join(choices)}", param="choice")
    by_side = {"left": "b", "right": "a"} if assignment.swapped else {"left": "a", "right": "b"}
    return {"": {"choice": by_side.get(body.choice, body.choice)}}


def _says(live: dict[str, Judgement]) -> tuple[dict[str, Any], str | None]:
    comments = [one.comment for one in live.values() if one.comment is not None]
    return {one.dimension: one.choice or one.value for one in live.values()}, comments[0] if comments else None


def _stated(answers: dict[str, dict[str, Any]], comment: str | None) -> tuple[dict[str, Any], str | None]:
    return {dimension: answer.get("choice") or answer.get("value") for dimension, answer in answers.items()}, comment


def _dwell(claimed: int | None, assignment: Assignment, at: datetime) -> int:
    """Return how long the rater looked, in ms: what the client measured, but never longer than they can have had it."""
    held = max(0, round((at - assignment.leased_at).total_seconds() * 1000))
    return held if claimed is None else min(claimed, held)


def _sides(assignment: Assignment, item: Item) -> list[Any]:
    """Return where a and b stand; None for a reply alone."""
    if item.response_b_id is None:
        return [None]
    return ["right", "left"] if assignment.swapped else ["left", "right"]


def shown_task(session: Session, assignment: Assignment, protocol: Protocol) -> Task:
    """Return what a rater was given as they see it."""
    item = session.get_one(Item, assignment.item_id)
    shown = zip(_sides(assignment, item), repository.replies(session, item), strict=True)
    replies = [ShownReply(side=side, text=reply.text) for side, reply in shown]
    return Task(
        lease=assignment.lease_token,
        expires=int(assignment.expires_at.timestamp()),
        kind=item.kind,
        messages=repository.messages(session, item),
        replies=sorted(replies, key=lambda reply: reply.side or ""),
        choices=CHOICES[protocol.kind],
        dimensions=[AskedDimension(name=one.name, anchors=one.anchors) for one in protocol.asked()],
    )


def _judged(session: Session, desk: _Desk, assignment: Assignment, item: Item, ids: list[int]) -> Judged:
    reveal = None
    if desk.protocol.reveal:
        whose = zip(_sides(assignment, item), repository.replies(session, item), strict=True)
        reveal = [
            Revealed(side=side, system=reply.system, kind=reply.kind, best_of=reply.best_of) for side, reply in whose
        ]
        reveal.sort(key=lambda one: one.side or "")
    judged = repository.count_judged(session, desk.rater.id)
    return Judged(lease=assignment.lease_token, judgement_ids=ids, judged=judged, reveal=reveal)
