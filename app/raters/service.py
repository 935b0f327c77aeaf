"""Inviting, joining, agreeing, and being forgotten. Tokens are random, told once, and stored by their hash alone."""

import hashlib
import secrets
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy.orm import Session

from app.audit.repository import OWNER, record
from app.database import now
from app.errors import BadRequestError, ConflictError, ForbiddenError, NotFoundError, UnauthorizedError
from app.raters import repository
from app.raters.repository import Joined
from app.raters.schemas import (
    ConsentRequest,
    ConsentText,
    ErasedRater,
    InvitationEntry,
    InvitationList,
    InvitationRequest,
    JoinRequest,
    NewInvitation,
    NewRaterSession,
    RaterSession,
)
from app.raters.tables import Invitation, Rater
from app.studies.protocol import Protocol
from app.studies.queue import count_waiting
from app.studies.repository import get_study, lock_study
from app.studies.tables import Study


def invite(session: Session, slug: str, body: InvitationRequest, token: str = "") -> NewInvitation:
    """Make a link into a study. With a `token` of the caller's own, made for this one link, a repetition is told the
    same link again and makes no second one. Raises NotFoundError, ConflictError for a closed study.
    """
    study = lock_study(session, slug)  # of two clicks at the same moment, the second finds what the first one made
    if study.status == "closed":
        raise ConflictError(f"the study {slug!r} is closed: nobody can join it", code="study_closed")
    made = repository.invitation_by_token(session, sha256(token)) if token else None
    if made is not None and (made.study_id, made.label, made.max_raters) == (study.id, body.label, body.max_raters):
        return NewInvitation(**_invitation(made, 0).model_dump(), token=token, path=f"/rate/join/{token}")
    if made is not None or not token:
        token = new_token()
    created_at = now()
    days = body.expires_in_days
    invitation = Invitation(
        study_id=study.id,
        token_sha256=sha256(token),
        label=body.label,
        max_raters=body.max_raters,
        expires_at=None if days is None else created_at + timedelta(days=days),
        created_at=created_at,
    )
    repository.add(session, invitation)
    record(session, OWNER, "invite", f"study/{slug}", invitation=invitation.id, max_raters=body.max_raters)
    return NewInvitation(**_invitation(invitation, 0).model_dump(), token=token, path=f"/rate/join/{token}")


def new_token() -> str:
    """Return what makes a link that nobody can guess."""
    return secrets.token_urlsafe(24)


def list_invitations(session: Session, slug: str) -> InvitationList:
    """Return the links into a study. Raises NotFoundError."""
    found = repository.invitations(session, get_study(session, slug).id)
    return InvitationList(data=[_invitation(invitation, raters) for invitation, raters in found])


def revoke(session: Session, slug: str, invitation_id: int) -> InvitationEntry:
    """Let nobody in by a link any more; who is in stays in. Raises NotFoundError."""
    found = repository.invitations(session, get_study(session, slug).id)
    for invitation, raters in found:
        if invitation.id == invitation_id:
            if invitation.revoked_at is None:
                invitation.revoked_at = now()
                record(session, OWNER, "revoke", f"study/{slug}", invitation=invitation_id)
            return _invitation(invitation, raters)
    raise NotFoundError(f"the study {slug!r} has no invitation {invitation_id}", code="invitation_not_found")


def join(session: Session, body: JoinRequest, held: Callable[[str], str | None] = lambda slug: None) -> NewRaterSession:
    """Begin a session by a link, or go on with the one `held` for the study's slug: a link opened twice is one rater.

    Raises NotFoundError, ForbiddenError or ConflictError when the link leads nowhere, or nowhere any more.
    """
    invitation = repository.invitation_by_token(session, sha256(body.token))
    if invitation is None:
        raise NotFoundError("this invitation does not exist", param="token", code="invitation_not_found")
    study = session.get_one(Study, invitation.study_id)
    token = held(study.slug)
    known = repository.by_token(session, sha256(token)) if token else None
    if token and known and known.study is study and body.external_ref in (None, known.rater.external_ref):
        return NewRaterSession(**_session(session, known).model_dump(), session_token=token)
    if invitation.revoked_at is not None:
        raise ForbiddenError("this invitation was withdrawn", param="token", code="invitation_revoked")
    if invitation.expires_at is not None and invitation.expires_at <= now():
        raise ForbiddenError("this invitation has expired", param="token", code="invitation_expired")
    if study.status == "closed":
        raise ConflictError("this study is closed; thank you for your interest", code="study_closed")
    rater = None
    if body.external_ref is not None:
        repository.lock_invitation(session, invitation.id)  # who comes twice at the same moment is one rater
        rater = repository.by_external_ref(session, study.id, body.external_ref)
    if rater is None:
        rater = Rater(
            public_id=f"rater-{secrets.token_hex(16)}",
            kind="simulated" if body.simulated else "invited",
            invitation_id=invitation.id,
            external_ref=body.external_ref,
            created_at=now(),
        )
        session.add(rater)
    token = secrets.token_urlsafe(32)
    rater.token_sha256 = sha256(token)
    session.flush()
    return NewRaterSession(**_session(session, Joined(rater, study)).model_dump(), session_token=token)


def identify(session: Session, slug: str, token: str | None) -> Joined:
    """Return the rater whose session token this is.

    Raises UnauthorizedError without a token that is known, ForbiddenError for a rater of another study, NotFoundError
    for a study that does not exist.
    """
    get_study(session, slug)
    found = repository.by_token(session, sha256(token)) if token else None
    if found is None:
        raise UnauthorizedError(
            "join the study by its invitation link first; then send the session token as a cookie or as"
            " `Authorization: Bearer TOKEN`",
            code="no_session",
        )
    if found.study.slug != slug:
        raise ForbiddenError("this session belongs to another study", code="other_study")
    return found


def identify_agreed(session: Session, slug: str, token: str | None) -> Joined:
    """Return the rater as `identify` does; raises ForbiddenError too when they have not agreed to take part."""
    found = identify(session, slug, token)
    if not _agreed(found):
        raise ForbiddenError("agree to the study's consent text first", code="consent_required")
    return found


def describe(session: Session, slug: str, token: str | None) -> RaterSession:
    """Return where a rater stands. Raises as `identify` does."""
    return _session(session, identify(session, slug, token))


def consent(session: Session, slug: str, token: str | None, body: ConsentRequest) -> RaterSession:
    """Note that a rater agrees. Raises as `identify` does, BadRequestError for another version of the text,
    ConflictError when as many as the invitation is for have agreed already.
    """
    found = identify(session, slug, token)
    protocol = Protocol.model_validate(found.study.protocol)
    if body.version != protocol.consent.version:
        raise BadRequestError(
            f"version: the consent text of this study has version {protocol.consent.version!r}", param="version"
        )
    if not _agreed(found):
        assert found.rater.invitation_id is not None  # `by_token` joins it
        invitation = repository.lock_invitation(session, found.rater.invitation_id)
        if repository.count_agreed(session, invitation.id) >= invitation.max_raters:
            raise ConflictError(
                f"this invitation is for {invitation.max_raters} raters, and all have joined", code="invitation_full"
            )
        found.rater.consent_version = body.version
        found.rater.consented_at = now()
        record(session, found.rater.public_id, "consent", f"study/{slug}", version=body.version)
    session.flush()
    return _session(session, found)


def erase(session: Session, public_id: str) -> ErasedRater:
    """Forget who a rater is and what they wrote; their numbers stay under the public id. Raises NotFoundError."""
    rater = repository.lock_by_public_id(session, public_id)
    if rater is None:
        raise NotFoundError(f"no rater has the id {public_id[:100]!r}", param="rater", code="rater_not_found")
    if rater.erased_at is None:
        repository.erase(session, rater, now())
        record(session, OWNER, "erase", f"rater/{rater.public_id}")
    assert rater.erased_at is not None
    return ErasedRater(
        rater=rater.public_id,
        erased=int(rater.erased_at.timestamp()),
        judgements_kept=repository.count_judgements(session, rater.id),
    )


def sha256(token: str) -> str:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def _agreed(found: Joined) -> bool:
    return found.rater.consent_version == Protocol.model_validate(found.study.protocol).consent.version


def _session(session: Session, found: Joined) -> RaterSession:
    protocol = Protocol.model_validate(found.study.protocol)
    judged, skipped = repository.count_finished(session, found.rater.id)
    return RaterSession(
        rater=found.rater.public_id,
        study=found.study.slug,
        title=found.study.title,
        kind=protocol.kind,
        status=found.study.status,
        instructions=protocol.instructions,
        consent=ConsentText(version=protocol.consent.version, text=protocol.consent.text),
        consented=_agreed(found),
        judged=judged,
        skipped=skipped,
        remaining=count_waiting(session, found.study, found.rater, now()),
    )


def _invitation(invitation: Invitation, raters: int) -> InvitationEntry:
    return InvitationEntry(
        id=invitation.id,
        label=invitation.label,
        max_raters=invitation.max_raters,
        raters=raters,
        created=int(invitation.created_at.timestamp()),
        expires=None if invitation.expires_at is None else int(invitation.expires_at.timestamp()),
        revoked=None if invitation.revoked_at is None else int(invitation.revoked_at.timestamp()),
    )
