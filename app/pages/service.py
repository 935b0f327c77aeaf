"""The chat page's conversations: what was said before, one more exchange, and what the page shows of it."""

import uuid
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.chat.schemas import Sampling
from app.chat.service import ChatService, alternating
from app.chat.storing import Drawn, keep
from app.database import Database
from app.errors import ConflictError, NotFoundError
from app.pages import repository
from app.pages.repository import SaidTurn
from app.pages.schemas import MessageForm, Place, Said, ThumbForm
from app.ratings import repository as ratings_repository
from app.ratings import service as ratings_service
from app.ratings.schemas import RatingRequest
from app.settings import Settings

BEST_OF = 4
"""Candidates when the visitor ticks "pick the best"."""


@dataclass(frozen=True)
class ShownTurn:
    """A turn and the thumb it has."""

    turn: SaidTurn
    thumb: int | None


@dataclass(frozen=True)
class ChatPage:
    """All that the page shows."""

    place: Place
    models: list[str]
    can_rank: bool
    broken: list[str]
    turns: list[ShownTurn]
    longest_message: int


class PagesService:
    """Keeps the chat page's conversations."""

    def __init__(self, chat: ChatService, database: Database, settings: Settings) -> None:
        self._chat = chat
        self._database = database
        self._settings = settings

    def show(self, session: Session, place: Place) -> ChatPage:
        """Return the page at `place`. Raises NotFoundError for a conversation that is not stored."""
        models = self._chat.models
        turns: list[SaidTurn] = []
        if place.conversation:
            turns = self._turns(session, place.conversation)
        thumbs = ratings_repository.live_thumbs(session, [turn.response_id for turn in turns if turn.response_id])
        if place.model not in models.names:
            spoke = [turn.model for turn in turns if turn.model in models.names]
            chosen = spoke[-1] if spoke else next(iter(models.names), "")
            place = place.model_copy(update={"model": chosen})
        return ChatPage(
            place=place,
            models=models.names,
            can_rank=any(bot.has_discriminator for bot in models),
            broken=list(models.broken),
            turns=[ShownTurn(turn, thumbs.get(turn.response_id or "")) for turn in turns],
            longest_message=self._settings.max_message_chars,
        )

    async def say(self, form: MessageForm) -> Said:
        """Answer a message and store both as the next turns of the conversation, a new one if none is named.

        Raises NotFoundError, BadRequestError, ConflictError when the conversation went on meanwhile, or what drawing
        raises.
        """
        bot = self._chat.models.get(form.model)
        message = form.message.replace("\r\n", "\n")  # browsers send line ends so
        self._chat.check_text(message, "message")
        before: list[SaidTurn] = []
        if form.conversation:
            before = await self._database.read(lambda session: self._turns(session, form.conversation))
        # No session is held while the model works: a writer in waiting would lock SQLite for everybody.
        history = alternating([*((turn.role, turn.text) for turn in before), ("user", message)])
        sampling = Sampling(best_of=BEST_OF if form.best and bot.has_discriminator else None)
        [drawn] = await self._chat.draw(bot, [history[-self._settings.max_messages :]], sampling)
        conversation = form.conversation or uuid.uuid4().hex
        try:
            await self._database.write(lambda session: self._keep(session, conversation, len(before), message, drawn))
        except IntegrityError:
            raise ConflictError(
                "the conversation went on in another window; reload the page", code="conversation_moved_on"
            ) from None
        [(reply_id, reply)] = drawn.replies
        return Said(conversation=conversation, reply_id=reply_id, text=reply.text, model=bot.name)

    def rate(self, session: Session, form: ThumbForm) -> None:
        """Store a thumb. Raises NotFoundError for an unknown reply."""
        ratings_service.rate(session, RatingRequest(reply_id=form.reply_id, thumb=int(form.thumb)))

    def _turns(self, session: Session, conversation: str) -> list[SaidTurn]:
        if not repository.exists(session, conversation):
            raise NotFoundError(
                "this conversation is not stored here", param="conversation", code="conversation_not_found"
            )
        return repository.turns(session, conversation)

    def _keep(self, session: Session, conversation: str, position: int, message: str, drawn: Drawn) -> None:
        [(reply_id, reply)] = drawn.replies
        keep(session, [drawn])
        if position == 0:
            repository.open_conversation(session, conversation)
        repository.add_exchange(session, conversation, position, message, reply.text, reply_id)
