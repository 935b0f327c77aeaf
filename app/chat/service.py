"""Answering: checks what the schemas cannot, has the replies drawn, and stores every one before it is sent."""

import dataclasses
import secrets
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from app.chat import repository
from app.chat.schemas import (
    FIRST_TOO_LARGE_SEED,
    IGNORED_FIELDS,
    AnswerMessage,
    Choice,
    Completion,
    CompletionRequest,
    ContextReplies,
    Message,
    ModelEntry,
    ModelLimits,
    ModelList,
    Replies,
    RepliesRequest,
    Sampling,
    ServedReply,
    Usage,
)
from app.chat.tables import Response
from app.database import Database, now
from app.errors import BadRequestError
from app.generation import Generation
from app.models import Models, ReplyBot
from app.settings import Settings

if TYPE_CHECKING:
    from chatbot.bot import Answer, Reply, ReplyRequest

DRAWN_SEEDS = 2**53
"""Seeds that we draw stay below this, so that a client in JavaScript can send them back exactly."""


@dataclass(frozen=True)
class Drawn:
    """The replies to one request, drawn and not stored yet."""

    bot: ReplyBot
    request: "ReplyRequest"
    answer: "Answer"
    reply_ids: tuple[str, ...]
    latency_ms: int

    @property
    def replies(self) -> "list[tuple[str, Reply]]":
        """Return each reply with its id."""
        return list(zip(self.reply_ids, self.answer.replies, strict=True))


class ChatService:
    """Answers histories with the loaded models."""

    def __init__(self, models: Models, generation: Generation, database: Database, settings: Settings) -> None:
        self.models = models
        self._generation = generation
        self._database = database
        self._settings = settings
        self._started = int(time.time())

    async def complete(self, body: CompletionRequest) -> Completion:
        """Return the `n` replies to a history of messages. Raises ServiceError or RequestError saying what is wrong."""
        bot = self.models.get(body.model)
        if body.max_tokens and body.max_completion_tokens and body.max_tokens != body.max_completion_tokens:
            raise BadRequestError("max_tokens and max_completion_tokens contradict each other", param="max_tokens")
        turns = self._turns(body.messages)
        sampling = body.model_copy(update={"max_tokens": body.max_tokens or body.max_completion_tokens})
        [drawn] = await self.draw(bot, [turns], sampling)
        await self._database.write(lambda session: self.keep(session, [drawn]))
        return Completion(
            id=drawn.reply_ids[0],
            created=int(time.time()),
            model=bot.name,
            choices=[
                Choice(
                    index=index,
                    reply_id=reply_id,
                    message=AnswerMessage(content=reply.text),
                    finish_reason=reply.finish_reason,
                    discriminator_score=reply.score,
                )
                for index, (reply_id, reply) in enumerate(drawn.replies)
            ],
            usage=_usage([drawn]),
            system_fingerprint=fingerprint(bot),
            seed=drawn.request.seed,
            turns_used=drawn.answer.turns_used,
            ignored=_ignored(body),
        )

    async def reply(self, body: RepliesRequest) -> Replies:
        """Return the replies to a list of contexts. Raises as `complete` does, for the whole list."""
        bot = self.models.get(body.model)
        if len(body.contexts) > self._settings.max_contexts:
            raise BadRequestError(
                f"{len(body.contexts)} contexts; at most {self._settings.max_contexts} in one call", param="contexts"
            )
        for index, turns in enumerate(body.contexts):
            self._check_count(len(turns), f"contexts[{index}]")
            for position, text in enumerate(turns):
                self.check_text(text, f"contexts[{index}][{position}]")
        drawn = await self.draw(bot, body.contexts, body)
        await self._database.write(lambda session: self.keep(session, drawn))
        return Replies(
            created=int(time.time()),
            model=bot.name,
            data=[
                ContextReplies(
                    index=index,
                    seed=one.request.seed,
                    replies=[
                        ServedReply(
                            reply_id=reply_id,
                            text=reply.text,
                            finish_reason=reply.finish_reason,
                            tokens=reply.tokens,
                            discriminator_score=reply.score,
                        )
                        for reply_id, reply in one.replies
                    ],
                    context_tokens=one.answer.context_tokens,
                    turns_used=one.answer.turns_used,
                )
                for index, one in enumerate(drawn)
            ],
            usage=_usage(drawn),
            system_fingerprint=fingerprint(bot),
        )

    async def draw(self, bot: ReplyBot, histories: Sequence[Sequence[str]], sampling: Sampling) -> list[Drawn]:
        """Have the replies to `histories` drawn; history i gets `seed + i`, and a seed is chosen where none is given.

        Raises BadRequestError, RequestError, OverloadedError or GenerationError.
        """
        requests = self._requests(bot, histories, sampling)
        started = time.monotonic()
        answers = await self._generation.answer(bot, requests)
        latency_ms = round((time.monotonic() - started) * 1000)
        return [
            Drawn(
                bot=bot,
                request=request,
                answer=_storable(answer),
                reply_ids=tuple(f"reply-{uuid.uuid4().hex}" for _ in answer.replies),
                latency_ms=latency_ms,
            )
            for request, answer in zip(requests, answers, strict=True)
        ]

    def keep(self, session: Session, drawn: Sequence[Drawn]) -> None:
        """Store replies with all that made them: model, weights, decoding, seed and the turns they answer."""
        first = drawn[0]  # one call: one model, one decoding
        system = repository.checkpoint(session, first.bot.name, first.bot.digest, _decoding(first.request))
        contexts = repository.contexts(session, [messages_of(one.request.turns) for one in drawn])
        created_at = now()
        repository.add_responses(
            session,
            [
                Response(
                    id=reply_id,
                    system_id=system,
                    context_id=context,
                    text=reply.text,
                    seed=one.request.seed,
                    choice=choice,
                    finish_reason=reply.finish_reason,
                    tokens=reply.tokens,
                    context_tokens=one.answer.context_tokens,
                    turns_used=one.answer.turns_used,
                    score=reply.score,
                    latency_ms=one.latency_ms,
                    created_at=created_at,
                )
                for one, context in zip(drawn, contexts, strict=True)
                for choice, (reply_id, reply) in enumerate(one.replies)
            ],
        )

    def list_models(self) -> ModelList:
        """Return the loaded models."""
        return ModelList(data=[self._entry(bot) for bot in self.models])

    def get_model(self, name: str) -> ModelEntry:
        """Return the model called `name`. Raises NotFoundError."""
        return self._entry(self.models.get(name))

    def check_text(self, text: str, param: str) -> None:
        """Raise BadRequestError when `text` says nothing or is too long."""
        if not text.strip():
            raise BadRequestError(f"{param}: is empty", param=param, code="empty_message")
        limit = self._settings.max_message_chars
        if len(text) > limit:
            raise BadRequestError(
                f"{param}: {len(text)} characters; at most {limit} are read", param=param, code="message_too_long"
            )

    def _check_count(self, count: int, param: str) -> None:
        limit = self._settings.max_messages
        if count > limit:
            raise BadRequestError(f"{param}: {count} turns; at most {limit} in one history", param=param)

    def _turns(self, messages: Sequence[Message]) -> list[str]:
        """Return the history as turns of alternating speakers, the user's last."""
        self._check_count(len(messages), "messages")
        spoken: list[tuple[str, str]] = []
        for index, message in enumerate(messages):
            if message.role in ("system", "developer"):
                continue  # our models were never shown instructions
            if message.role == "user" or message.text.strip():
                self.check_text(message.text, f"messages[{index}].content")
            spoken.append((message.role, message.text))
        if not spoken or spoken[-1][0] != "user":
            raise BadRequestError("messages: the last one must be the user's", param="messages")
        return alternating(spoken)

    def _requests(self, bot: ReplyBot, histories: Sequence[Sequence[str]], sampling: Sampling) -> "list[ReplyRequest]":
        from chatbot.bot import ReplyRequest
        from chatbot.decoding import Decoding

        n = sampling.n or 1
        if sampling.best_of is not None:
            if not bot.has_discriminator:
                raise BadRequestError(
                    f"best_of: the model {bot.name!r} has no discriminator to choose with", param="best_of"
                )
            if sampling.best_of < n:
                raise BadRequestError(f"best_of: {sampling.best_of} candidates cannot give n = {n}", param="best_of")
        limit = self._settings.max_candidates
        if len(histories) * max(n, sampling.best_of or 0) > limit:
            param = "best_of" if (sampling.best_of or 0) > n else "n"
            raise BadRequestError(f"{param}: one call may draw at most {limit} replies", param=param)
        seed = secrets.randbelow(DRAWN_SEEDS) if sampling.seed is None else sampling.seed
        given = sampling.model_dump(include={field.name for field in dataclasses.fields(Decoding)}, exclude_none=True)
        if given.get("max_tokens", 0) >= bot.limits.reply_tokens:
            del given["max_tokens"]  # a limit above the model's own is met by the model's own
        if "max_tokens" in given:  # one token leaves no room for the default of one word before the end token
            given.setdefault("min_tokens", min(Decoding.min_tokens, given["max_tokens"] - 1))
        decoding = Decoding(**given)
        return [
            ReplyRequest(
                turns=tuple(turns),
                decoding=decoding,
                seed=(seed + index) % FIRST_TOO_LARGE_SEED,
                n=n,
                best_of=sampling.best_of,
            )
            for index, turns in enumerate(histories)
        ]

    def _entry(self, bot: ReplyBot) -> ModelEntry:
        return ModelEntry(
            id=bot.name,
            created=self._started,
            digest=bot.digest,
            device=bot.device,
            discriminator=bot.has_discriminator,
            limits=ModelLimits(context_tokens=bot.limits.context_tokens, reply_tokens=bot.limits.reply_tokens),
            card=bot.card,
        )


def alternating(spoken: Iterable[tuple[str, str]]) -> list[str]:
    """Return the turns of (speaker, text) pairs: silence dropped, what one speaker says in a row joined."""
    turns: list[tuple[str, str]] = []
    for speaker, text in spoken:
        if not text.strip():
            continue  # an empty reply, or a tool call, that comes back as part of the history
        if turns and turns[-1][0] == speaker:
            turns[-1] = (speaker, f"{turns[-1][1]}\n{text}")
        else:
            turns.append((speaker, text))
    return [text for _, text in turns]


def fingerprint(bot: ReplyBot) -> str:
    """Return the short name of the model's weights."""
    return bot.digest[:12]


def _ignored(body: CompletionRequest) -> list[str]:
    messages = [f"messages[{i}]" for i, message in enumerate(body.messages) if message.role in ("system", "developer")]
    return messages + [name for name in IGNORED_FIELDS if getattr(body, name)]


def _usage(drawn: Sequence[Drawn]) -> Usage:
    prompt = sum(one.answer.context_tokens for one in drawn)
    completion = sum(reply.tokens for one in drawn for reply in one.answer.replies)
    return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)


def _decoding(request: "ReplyRequest") -> dict[str, Any]:
    """Return all that makes this model with these settings a system of its own to its judges."""
    return {**dataclasses.asdict(request.decoding), "best_of": request.best_of}


def messages_of(turns: Sequence[str]) -> list[dict[str, str]]:
    """Return `turns` with their speakers: the last is the user's."""
    return [
        {"role": "user" if (len(turns) - position) % 2 else "assistant", "content": text}
        for position, text in enumerate(turns)
    ]


def _storable(answer: "Answer") -> "Answer":
    """Drop U+0000 from the replies: a byte-level model can write it, PostgreSQL cannot store it."""
    replies = tuple(dataclasses.replace(reply, text=reply.text.replace("\x00", "")) for reply in answer.replies)
    return dataclasses.replace(answer, replies=replies)
