"""The SQL of invitations and raters."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.raters.tables import Invitation, Rater
from app.ratings.tables import Judgement
from app.studies.tables import Assignment, Study


class Joined(NamedTuple):
    """A rater and the study that they were invited to."""

    rater: Rater
    study: Study


def add(session: Session, row: Invitation | Rater) -> None:
    """Store `row` and give it its id."""
    session.add(row)
    session.flush()


def invitation_by_token(session: Session, token_sha256: str) -> Invitation | None:
    """Return the invitation with this token."""
    return session.scalar(select(Invitation).filter_by(token_sha256=token_sha256))


def lock_invitation(session: Session, invitation_id: int) -> Invitation:
    """Return an invitation, and keep others from filling it until this transaction ends."""
    return session.execute(select(Invitation).filter_by(id=invitation_id).with_for_update()).scalar_one()


def invitations(session: Session, study_id: int) -> list[tuple[Invitation, int]]:
    """Return the invitations to a study, oldest first, each with how many raters agreed to take part."""
    agreed = (
        select(Rater.invitation_id, func.count().label("raters"))
        .where(Rater.consented_at.is_not(None))
        .group_by(Rater.invitation_id)
        .subquery()
    )
    statement = (
        select(Invitation, func.coalesce(agreed.c.raters, 0))
        .outerjoin(agreed, agreed.c.invitation_id == Invitation.id)
        .where(Invitation.study_id == study_id)
        .order_by(Invitation.id)
    )
    return [(invitation, raters) for invitation, raters in session.execute(statement)]


def count_agreed(session: Session, invitation_id: int) -> int:
    """Return how many raters who came by an invitation agreed to take part."""
    statement = select(func.count()).where(Rater.invitation_id == invitation_id, Rater.consented_at.is_not(None))
    return session.scalar(statement) or 0


def by_token(session: Session, token_sha256: str) -> Joined | None:
    """Return the rater with this session token, and their study."""
    statement = (
        select(Rater, Study)
        .join(Invitation, Invitation.id == Rater.invitation_id)
        .join(Study, Study.id == Invitation.study_id)
        .where(Rater.token_sha256 == token_sha256)
    )
    row = session.execute(statement).first()
    return None if row is None else Joined(*row)


def by_external_ref(session: Session, study_id: int, external_ref: str) -> Rater | None:
    """Return the rater of a study whom its owner knows as `external_ref`."""
    return session.scalar(
        select(Rater)
        .join(Invitation, Invitation.id == Rater.invitation_id)
        .where(Invitation.study_id == study_id, Rater.external_ref == external_ref)
    )


def lock_rater(session: Session, rater_id: int) -> Rater:
    """Return a rater as stored now, and let one request of theirs after the other go on from here."""
    statement = select(Rater).filter_by(id=rater_id).with_for_update().execution_options(populate_existing=True)
    return session.execute(statement).scalar_one()


def lock_by_public_id(session: Session, public_id: str) -> Rater | None:
    """Return the rater with this public id, and keep their requests waiting until this transaction ends."""
    # The invitation first, as where raters join and agree: in the other order the two would wait for each other.
    invitation_id = session.scalar(select(Rater.invitation_id).filter_by(public_id=public_id))
    if invitation_id is not None:
        lock_invitation(session, invitation_id)
    return session.scalar(select(Rater).filter_by(public_id=public_id).with_for_update())


def count_finished(session: Session, rater_id: int) -> tuple[int, int]:
    """Return how many items a rater judged and how many they skipped."""
    statement = select(func.count()).select_from(Assignment).where(Assignment.rater_id == rater_id)
    judged = session.scalar(statement.where(Assignment.state == "done"))
    skipped = session.scalar(statement.where(Assignment.state == "skipped"))
    return judged or 0, skipped or 0


def count_judgements(session: Session, rater_id: int) -> int:
    """Return how many judgements a rater gave, superseded ones included."""
    return session.scalar(select(func.count()).select_from(Judgement).where(Judgement.rater_id == rater_id)) or 0


def erase(session: Session, rater: Rater, at: datetime) -> None:
    """Remove all that says who `rater` is and all that they wrote; give back what they hold."""
    rater.external_ref = None
    rater.token_sha256 = None
    rater.erased_at = at
    session.execute(update(Judgement).where(Judgement.rater_id == rater.id).values(comment=None))
    session.execute(update(Assignment).where(Assignment.rater_id == rater.id).values(flag_comment=None))
    session.execute(
        update(Assignment).where(Assignment.rater_id == rater.id, Assignment.state == "leased").values(state="expired")
    )
    session.execute(  # a link made for one person may be labelled with their name
        update(Invitation).where(Invitation.id == rater.invitation_id, Invitation.max_raters == 1).values(label="")
    )
    session.flush()
