"""The SQL of the arena: its study, its visitors, its rounds."""

import secrets
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.raters.tables import Invitation, Rater
from app.studies import repository as studies
from app.studies.protocol import Protocol
from app.studies.tables import Assignment, Item, Study


def open_study(session: Session, slug: str, title: str, protocol: Protocol, at: datetime) -> Study:
    """Return the arena's study, storing it at first, and let one round after the other be stored."""
    studies.add_study(
        session,
        slug=slug,
        title=title,
        protocol=protocol.model_dump(),
        seed=0,
        status="running",
        created_at=at,
        started_at=at,
    )
    return studies.lock_study(session, slug)


def add_visitor(session: Session, study: Study, token_sha256: str, consent_version: str, at: datetime) -> Rater:
    """Store a visitor who agreed by sending a message."""
    invitation = session.scalar(select(Invitation).filter_by(study_id=study.id).order_by(Invitation.id).limit(1))
    if invitation is None:
        # What ties visitors to the study; nobody knows its token, so nobody joins by it.
        unknown = secrets.token_hex(32)
        invitation = Invitation(
            study_id=study.id, token_sha256=unknown, label="arena", max_raters=1_000_000, created_at=at
        )
        session.add(invitation)
        session.flush()
    rater = Rater(
        public_id=f"rater-{secrets.token_hex(16)}",
        kind="chat",
        invitation_id=invitation.id,
        token_sha256=token_sha256,
        consent_version=consent_version,
        consented_at=at,
        created_at=at,
    )
    session.add(rater)
    session.flush()
    return rater


def add_round(
    session: Session,
    study: Study,
    rater: Rater,
    context_id: int,
    replies: tuple[str, str],
    at: datetime,
    lasts: timedelta,
    *,
    swapped: bool,
) -> Assignment:
    """Store a pair of replies as an item that is given to one visitor and to nobody else."""
    item = Item(
        study_id=study.id,
        position=studies.next_position(session, study.id),
        kind="pair",
        purpose="normal",
        context_id=context_id,
        response_a_id=replies[0],
        response_b_id=replies[1],
        target=1,
        done=0,
        status="done",  # what somebody wrote here must not be given to others by the queue
    )
    session.add(item)
    session.flush()
    assignment = Assignment(
        item_id=item.id,
        rater_id=rater.id,
        state="leased",
        swapped=swapped,
        lease_token=secrets.token_urlsafe(24),
        leased_at=at,
        expires_at=at + lasts,
    )
    session.add(assignment)
    session.flush()
    return assignment
