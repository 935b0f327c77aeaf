"""The chat page's conversations: what was said before, one more exchange, and what the page shows of it.

Every form can be sent twice: what it asks for is then there already, and the visitor is led to it.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.chat.schemas import CompletionRequest, Message, Sampling
from app.chat.service import ChatService, alternating
from app.chat.storing import Drawn, keep
from app.chat.streaming import CompletionEvents
from app.database import Database
from app.errors import ConflictError, NotFoundError
from app.pages.chat import repository
from app.pages.chat.repository import Listed, SaidTurn
from app.pages.chat.schemas import AgainForm, MessageForm, Place, PrivacyForm, ScaleForm, ThumbForm
from app.ratings import repository as ratings_repository
from app.ratings import service as ratings_service
from app.ratings.repository import Thumb
from app.ratings.schemas import RatingRequest
from app.settings import Settings
from app.studies.protocol import STANDARD_DIMENSIONS

BEST_OF = 4
"""Candidates when the visitor ticks "pick the best"."""
LISTED = 50
"""Conversations in the side bar."""


@dataclass(frozen=True)
class ShownTurn:
    """A turn, the thumb it has with its reasons, and the values on the dimensions."""

    turn: SaidTurn
    position: int
    thumb: Thumb | None
    scales: dict[str, int]


@dataclass(frozen=True)
class ChatPage:
    """All that the page shows."""

    place: Place
    models: list[str]
    can_rank: bool
    broken: list[str]
    turns: list[ShownTurn]
    history: list[Listed]
    private: bool
    fresh: str
    longest_message: int


@dataclass(frozen=True)
class Exchange:
    """What is about to happen in a conversation: a message and its reply, or, without a message, a reply drawn anew."""

    conversation: str
    visitor_sha256: str | None
    shared: bool
    history: list[tuple[str, str]]
    position: int
    """From here on, turns are replaced by what comes."""
    seen: list[SaidTurn]
    """All that stood when it was planned: only then it may be carried out."""
    message: str | None
    standing: str | None = None
    """The reply that answered this very request already."""


class PagesService:
    """Keeps the chat page's conversations."""

    def __init__(self, chat: ChatService, database: Database, settings: Settings) -> None:
        self._chat = chat
        self._database = database
        self._settings = settings

    def show(self, session: Session, place: Place, visitor_sha256: str | None) -> ChatPage:
        """Return the page at `place`. Raises NotFoundError for a conversation that is not stored."""
        models = self._chat.models
        turns: list[SaidTurn] = []
        private = False
        if place.conversation:
            turns = self._turns(session, place.conversation)
            stored = repository.find(session, place.conversation)
            private = stored is not None and not stored.shared
        replies = [turn.response_id for turn in turns if turn.response_id]
        thumbs = ratings_repository.live_thumbs(session, replies)
        scales = ratings_repository.live_scales(session, replies)
        if place.model not in models.names:
            spoke = [turn.model for turn in turns if turn.model in models.names]
            chosen = spoke[-1] if spoke else next(iter(models.names), "")
            place = place.model_copy(update={"model": chosen})
        return ChatPage(
            place=place,
            models=models.names,
            can_rank=any(bot.has_discriminator for bot in models),
            broken=list(models.broken),
            turns=[
                ShownTurn(turn, position, thumbs.get(turn.response_id or ""), scales.get(turn.response_id or "", {}))
                for position, turn in enumerate(turns)
            ],
            history=repository.of_visitor(session, visitor_sha256, LISTED) if visitor_sha256 else [],
            private=private,
            fresh=uuid.uuid4().hex,
            longest_message=self._settings.max_message_chars,
        )

    async def plan(self, form: MessageForm | AgainForm, visitor_sha256: str | None) -> Exchange:
        """Return what a form asks for. Raises NotFoundError, BadRequestError, or ConflictError when the conversation
        went on meanwhile.
        """
        self._chat.models.get(form.model)
        if isinstance(form, MessageForm):
            self._chat.check_text(form.message, "message")
            return await self._database.read(lambda session: self._plan_message(session, form, visitor_sha256))
        return await self._database.read(lambda session: self._plan_again(session, form, visitor_sha256))

    async def answer(self, exchange: Exchange, form: MessageForm | AgainForm) -> str:
        """Have the reply drawn, store it, and return its id. Raises what drawing raises, and ConflictError."""
        bot = self._chat.models.get(form.model)
        # No session is held while the model works: a writer in waiting would lock SQLite for everybody.
        turns = alternating(exchange.history[-self._settings.max_messages :])
        [drawn] = await self._chat.draw(bot, [turns], Sampling(best_of=self._best_of(form)))
        try:
            await self.keep(exchange, drawn)
        except ConflictError:
            again = await self.plan(form, exchange.visitor_sha256)  # pressed twice: the other press was quicker
            if again.standing is None:
                raise
            return again.standing
        return drawn.reply_ids[0]

    async def stream(self, exchange: Exchange, form: MessageForm | AgainForm) -> CompletionEvents:
        """Have the reply drawn, told as it comes and stored at its end. Raises what drawing raises at first."""
        body = CompletionRequest(
            model=form.model,
            messages=[
                Message.model_validate({"role": role, "content": text})
                for role, text in exchange.history[-self._settings.max_messages :]
            ],
            best_of=self._best_of(form),
            stream=True,
        )
        return CompletionEvents(
            self._chat, body, await self._chat.stream(body), lambda drawn: self.keep(exchange, drawn)
        )

    async def keep(self, exchange: Exchange, drawn: Drawn) -> None:
        """Store a reply with its turns. Raises ConflictError when the conversation went on meanwhile."""
        try:
            await self._database.write(lambda session: self._keep(session, exchange, drawn))
        except IntegrityError:
            raise _moved_on() from None

    def rate(self, session: Session, form: ThumbForm) -> None:
        """Store a thumb. Raises NotFoundError for an unknown reply."""
        comment = form.comment.strip() or None
        body = RatingRequest(reply_id=form.reply_id, thumb=int(form.thumb), reasons=form.reasons, comment=comment)
        ratings_service.rate(session, body)

    def scale(self, session: Session, form: ScaleForm) -> None:
        """Store the values that differ from those that stand. Raises NotFoundError for an unknown reply."""
        known = ratings_repository.live_scales(session, [form.reply_id]).get(form.reply_id, {})
        given = {name: getattr(form, name) for name in STANDARD_DIMENSIONS}
        for name, value in given.items():
            if value and known.get(name) != int(value):
                body = {"reply_id": form.reply_id, "dimension": name, "value": int(value)}
                ratings_service.rate(session, RatingRequest.model_validate(body))

    def protect(self, session: Session, form: PrivacyForm) -> None:
        """Say whether the words of a conversation may be used. Raises NotFoundError."""
        conversation = repository.find(session, form.conversation)
        if conversation is None:
            raise _not_stored()
        conversation.shared = not form.private
        session.flush()

    def delete(self, session: Session, conversation: str) -> None:
        """Delete a conversation; deleting it again changes nothing."""
        repository.delete_conversation(session, conversation)

    def _plan_message(self, session: Session, form: MessageForm, visitor_sha256: str | None) -> Exchange:
        message = form.message.replace("\r\n", "\n")  # browsers send line ends so
        conversation = form.conversation or form.fresh or uuid.uuid4().hex
        stored = repository.find(session, conversation)
        if stored is None and form.conversation:
            raise _not_stored()
        turns = repository.turns(session, conversation)
        position = len(turns) if form.after is None else form.after
        standing = None
        if form.edit:
            reply_at = repository.position_of(session, conversation, form.edit)
            if reply_at is None:
                raise NotFoundError("this reply is not part of the conversation", param="edit", code="reply_not_found")
            position = reply_at - 1
            if turns[reply_at : reply_at + 1] and turns[reply_at].response_id != form.edit:
                standing = _answered(turns, position, message)  # edited already: by the same click, or elsewhere
        elif len(turns) > position:
            standing = _answered(turns, position, message)
        elif len(turns) < position:
            raise _moved_on()
        return Exchange(
            conversation=conversation,
            visitor_sha256=visitor_sha256,
            shared=not form.private,
            history=[*((turn.role, turn.text) for turn in turns[:position]), ("user", message)],
            position=position,
            seen=turns,
            message=message,
            standing=standing,
        )

    def _plan_again(self, session: Session, form: AgainForm, visitor_sha256: str | None) -> Exchange:
        turns = self._turns(session, form.conversation)
        position = repository.position_of(session, form.conversation, form.reply_id)
        if position is None:
            raise NotFoundError("this reply is not part of the conversation", param="reply_id", code="reply_not_found")
        if len(turns) != position + 1:
            raise _moved_on()
        last = turns[position].response_id
        return Exchange(
            conversation=form.conversation,
            visitor_sha256=visitor_sha256,
            shared=not form.private,
            history=[(turn.role, turn.text) for turn in turns[:position]],
            position=position,
            seen=turns,
            message=None,
            standing=None if last == form.reply_id else last,
        )

    def _keep(self, session: Session, exchange: Exchange, drawn: Drawn) -> None:
        [(reply_id, reply)] = drawn.replies
        keep(session, [drawn])
        conversation = repository.find(session, exchange.conversation)
        if conversation is None:
            if exchange.position:
                raise _not_stored()  # deleted while the model wrote
            conversation = repository.open_conversation(session, exchange.conversation, exchange.visitor_sha256)
        conversation.shared = exchange.shared
        if repository.turns(session, exchange.conversation) != exchange.seen:
            raise _moved_on()
        repository.replace_from(session, exchange.conversation, exchange.position)
        said: list[tuple[str, str, str | None]] = [("assistant", reply.text, reply_id)]
        if exchange.message is not None:
            said.insert(0, ("user", exchange.message, None))
        repository.add_turns(session, exchange.conversation, exchange.position, said)

    def _turns(self, session: Session, conversation: str) -> list[SaidTurn]:
        if repository.find(session, conversation) is None:
            raise _not_stored()
        return repository.turns(session, conversation)

    def _best_of(self, form: MessageForm | AgainForm) -> int | None:
        bot = self._chat.models.get(form.model)
        return BEST_OF if form.best and bot.has_discriminator else None


def _answered(turns: Sequence[SaidTurn], position: int, message: str) -> str:
    """Return the reply that answers `message` at its place. Raises ConflictError when another message stands there."""
    if len(turns) > position + 1 and turns[position].text == message:
        reply = turns[position + 1].response_id
        assert reply is not None  # by CHECK
        return reply
    raise _moved_on()


def _moved_on() -> ConflictError:
    return ConflictError("the conversation went on in another window; reload the page", code="conversation_moved_on")


def _not_stored() -> NotFoundError:
    return NotFoundError("this conversation is not stored here", param="conversation", code="conversation_not_found")
