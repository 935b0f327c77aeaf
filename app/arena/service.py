"""A round of the arena: two systems drawn by lot, their replies stored as an item, and shown without names."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from random import Random, SystemRandom
from typing import Final

from sqlalchemy.orm import Session

from app.arena import repository
from app.chat import repository as chat_repository
from app.chat.schemas import Sampling
from app.chat.service import ChatService
from app.chat.storing import Drawn, keep, messages_of
from app.database import Database, now
from app.errors import ConflictError, NotFoundError, UnauthorizedError
from app.judging import repository as judging_repository
from app.judging import service as judging
from app.judging.schemas import Judged, Task
from app.raters import repository as raters_repository
from app.raters import service as raters
from app.studies import queue
from app.studies.protocol import Consent, Protocol
from chatbot.messages import ModelCard

SLUG: Final = "arena"
BEST_OF: Final = 4
PROTOCOL: Final = Protocol(
    kind="pair",
    k=1,
    lease_seconds=86_400,
    reveal=True,
    consent=Consent(
        text="What you write in the arena, both replies and your vote are stored under a random name, and used to"
        " compare and to train reply generators. No address of your device is stored."
    ),
)


@dataclass(frozen=True)
class Contestant:
    """A loaded model, plain or with its discriminator choosing."""

    bot: ModelCard
    best_of: int | None


@dataclass(frozen=True)
class Ring:
    """What lies before a visitor: a pair to vote on, or the pair that they just voted on, with its names."""

    task: Task | None
    past: Task | None
    judged: Judged | None


class Arena:
    """Lets visitors compare the loaded models."""

    def __init__(self, chat: ChatService, database: Database) -> None:
        self._chat = chat
        self._database = database

    @property
    def contestants(self) -> list[Contestant]:
        """Return what can meet: every model, and those with a discriminator a second time, as their best of four."""
        plain = [Contestant(bot, None) for bot in self._chat.models]
        return plain + [Contestant(bot, BEST_OF) for bot in self._chat.models if bot.has_discriminator]

    def show(self, session: Session, token: str | None, after: str) -> Ring:
        """Return what lies before the visitor with a session token; nothing for one who is not known."""
        try:
            found = raters.identify_agreed(session, SLUG, token)
        except (UnauthorizedError, NotFoundError):
            return Ring(None, None, None)
        held = queue.open_lease(session, found.rater, now())
        task = None if held is None else judging.shown_task(session, held, PROTOCOL)
        if not after or task is not None:
            return Ring(task, None, None)
        assignment = judging_repository.find_assignment(session, found.rater.id, after)
        if assignment is None or assignment.state != "done":
            return Ring(None, None, None)
        past = judging.shown_task(session, assignment, PROTOCOL)
        return Ring(None, past, judging.describe_judged(session, SLUG, token, after))

    async def play(self, token: str, message: str) -> Task:
        """Have two systems reply to `message`, and return the pair; one that still waits for a vote comes first.

        A token that is not known becomes a new visitor's. Raises BadRequestError, ConflictError where fewer than two
        systems can meet, or what drawing raises.
        """
        message = message.replace("\r\n", "\n")
        self._chat.check_text(message, "message")
        contestants = self.contestants
        if len(contestants) < 2:
            raise ConflictError("the arena needs two systems; load another model", code="arena_too_small")
        waiting = await self._database.write(lambda session: self.show(session, token, ""))
        if waiting.task is not None:
            return waiting.task
        rng = SystemRandom()
        pair = rng.sample(contestants, 2)
        # Both are drawn to their ends before either is shown, so that nobody tells them apart by their speed.
        drawn = await asyncio.gather(
            *(self._chat.draw(one.bot, [[message]], Sampling(best_of=one.best_of)) for one in pair)
        )
        return await self._database.write(lambda session: self._keep(session, token, message, drawn[0], drawn[1], rng))

    def _keep(self, session: Session, token: str, message: str, a: list[Drawn], b: list[Drawn], rng: Random) -> Task:
        at = now()
        study = repository.open_study(session, SLUG, "Arena", PROTOCOL, at)
        if study.status != "running" or Protocol.model_validate(study.protocol) != PROTOCOL:
            raise ConflictError("a study of your own is called 'arena', so the arena is closed", code="arena_closed")
        try:
            found = raters.identify_agreed(session, SLUG, token)
            rater = raters_repository.lock_rater(session, found.rater.id)
        except UnauthorizedError:
            rater = repository.add_visitor(session, study, raters.sha256(token), PROTOCOL.consent.version, at)
        held = queue.open_lease(session, rater, at)
        if held is not None:  # sent twice at once: the other was quicker
            return judging.shown_task(session, held, PROTOCOL)
        keep(session, [*a, *b])
        [context] = chat_repository.contexts(session, [messages_of([message])])
        assignment = repository.add_round(
            session,
            study,
            rater,
            context,
            (a[0].reply_ids[0], b[0].reply_ids[0]),
            at,
            timedelta(seconds=PROTOCOL.lease_seconds),
            swapped=rng.random() < 0.5,
        )
        return judging.shown_task(session, assignment, PROTOCOL)
