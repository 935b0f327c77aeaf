"""Answering: checks what the schemas cannot, has the replies drawn, and stores every one before it is sent."""

import dataclasses
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from app.chat.guarding import Guard, Told
from app.chat.schemas import (
    FIRST_TOO_LARGE_SEED,
    IGNORED_FIELDS,
    AnswerMessage,
    Choice,
    ChoiceLogprobs,
    Completion,
    CompletionRequest,
    ContentLogprob,
    ContextReplies,
    Message,
    ModelEntry,
    ModelLimits,
    ModelList,
    PreferredDecoding,
    ReloadedModels,
    Replies,
    RepliesRequest,
    Sampling,
    ServedReply,
    TopLogprob,
    Usage,
)
from app.chat.storing import Drawn, ReplyStore
from app.database import Database
from app.engines import reload_order
from app.errors import BadRequestError
from app.generation import Answered, Generation, ReplyStream, Update
from app.models import Models
from app.request_facts import count, note
from app.settings import Settings
from chatbot.engine.waiting import Urgency
from chatbot.messages import ModelCard
from chatbot.request import Answer, Decoding, ReplyRequest, TokenLogprob

NUL = "\x00"
DRAWN_SEEDS = 2**53
"""Seeds that we draw stay below this, so that a client in JavaScript can send them back exactly."""


class DrawnStream:
    """The replies to one request while they are drawn: pieces of text, then all that is to be stored."""

    def __init__(
        self,
        bot: ModelCard,
        request: ReplyRequest,
        stream: ReplyStream,
        guarded: "Callable[[Drawn, Mapping[int, str]], Awaitable[Drawn]]",
        guard: Guard | None = None,
    ) -> None:
        self.bot = bot
        self.request = request
        self.reply_ids = tuple(new_reply_id() for _ in range(request.n))
        self.told: dict[int, str] = {}
        """What the client was told of each reply by now."""
        self._stream = stream
        self._guarded = guarded
        self._withheld = guard is not None and (guard.wants_whole_replies or request.logprobs is not None)
        self._watched = {place: Told(guard) for place in range(request.n)} if guard is not None else {}
        self._started = time.monotonic()
        self._first: Update | None = None

    async def begin(self, timeout: float) -> None:
        """Wait for the first word, at most `timeout` seconds. Raises what goes wrong before it."""
        self._first = await self._stream.next(timeout)

    async def next(self, timeout: float) -> Update | None:
        """Return what may be told now; None when there was nothing for `timeout` seconds. Raises what went wrong."""
        if self._first is not None:
            update, self._first = self._first, None
        else:
            found = await self._stream.next(timeout)
            if found is None:
                return None
            update = found
        if self._withheld:  # tokens have texts, and a hook wants to see the whole
            return Update(ended=update.ended)
        texts = {}
        for place, piece in update.texts.items():
            text = piece.replace(NUL, "")
            texts[place] = self._watched[place].add(text) if self._watched else text
            self.told[place] = self.told.get(place, "") + texts[place]
        for place in update.logprobs:
            self.told.setdefault(place, "")
        return Update(texts, update.logprobs, update.ended)

    async def drawn(self, ended: Answered) -> Drawn:
        """Return the replies as they are stored: those that a guard let pass, or what is told instead."""
        latency_ms = round((time.monotonic() - self._started) * 1000)
        count(tokens=sum(reply.tokens for reply in ended.answer.replies))
        drawn = Drawn(ended.model, self.request, storable(ended.answer), self.reply_ids, latency_ms)
        return await self._guarded(drawn, self.told)

    def close(self) -> None:
        """Give the request up if it is still in work."""
        self._stream.close()


class ChatService:
    """Answers histories with the loaded models."""

    def __init__(
        self,
        models: Models,
        generation: Generation,
        database: Database,
        settings: Settings,
        guard: Guard | None = None,
    ) -> None:
        self.models = models
        self._guard = guard
        self._generation = generation
        self._store = ReplyStore(database)
        self._settings = settings
        self._started = int(time.time())

    async def complete(self, body: CompletionRequest) -> Completion:
        """Return the `n` replies to a history of messages. Raises ServiceError or RequestError saying what is wrong."""
        drawn = await self.draw_completion(body, Urgency.INTERACTIVE)
        await self.store(drawn)
        return self.completion(body, drawn)

    async def draw_completion(self, body: CompletionRequest, urgency: Urgency) -> Drawn:
        """Have the replies to a history of messages drawn, and store nothing yet. Raises as `complete` does."""
        [drawn] = await self.draw_completions([body], urgency)
        return drawn

    async def draw_completions(self, bodies: Sequence[CompletionRequest], urgency: Urgency) -> list[Drawn]:
        """Have the replies to histories for one model drawn, in their order. Raises as `complete` does, for all."""
        found = [self._completion(body) for body in bodies]
        requests = [request for _, request in found]
        if len(requests) > 1:
            self._check_candidates(requests[0].n, requests[0].best_of, len(requests))
        return await self._draw(found[0][0], requests, urgency)

    def completion(self, body: CompletionRequest, drawn: Drawn) -> Completion:
        """Return the answer to `body` that `drawn` is."""
        return Completion(
            id=drawn.reply_ids[0],
            created=int(time.time()),
            model=drawn.bot.name,
            choices=[
                Choice(
                    index=index,
                    reply_id=reply_id,
                    message=AnswerMessage(content=reply.text),
                    finish_reason=reply.finish_reason,
                    logprobs=None if reply.logprobs is None else wire_logprobs(reply.logprobs),
                    discriminator_score=reply.score,
                )
                for index, (reply_id, reply) in enumerate(drawn.replies)
            ],
            usage=usage_of([drawn]),
            system_fingerprint=fingerprint(drawn.bot),
            seed=drawn.request.seed,
            turns_used=drawn.answer.turns_used,
            ignored=ignored_of(body),
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
        requests = self._requests(bot, body.contexts, body)
        drawn = await self._draw(bot, requests, _urgency_of(requests))
        await self._store.store(drawn)
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
            usage=usage_of(drawn),
            system_fingerprint=fingerprint(bot),
        )

    async def draw(
        self, bot: ModelCard, histories: Sequence[Sequence[str]], sampling: Sampling, *, guarded: bool = True
    ) -> list[Drawn]:
        """Have the replies to `histories` drawn; history i gets `seed + i`, and a seed is chosen where none is given.

        Not `guarded`, they are as the model wrote them. Raises BadRequestError, RequestError, OverloadedError or
        GenerationError.
        """
        draw = self._draw if guarded else self._draw_as_it_comes
        requests = self._requests(bot, histories, sampling)
        return await draw(bot, requests, _urgency_of(requests))

    async def stream(self, body: CompletionRequest) -> "DrawnStream":
        """Have the replies to a history of messages drawn, told as they come.

        Raises ServiceError or RequestError for what is known to be wrong before the first word.
        """
        bot, request = self._completion(body)
        note(model=bot.name)

        async def guarded(drawn: Drawn, told: Mapping[int, str]) -> Drawn:
            [settled] = await self._settle(bot, [drawn], Urgency.INTERACTIVE, told)
            return settled

        stream = DrawnStream(bot, request, self._generation.stream(bot.name, request), guarded, self._guard)
        try:
            await stream.begin(self._settings.ping_seconds)
        except BaseException:
            stream.close()
            raise
        return stream

    async def store(self, *drawn: Drawn) -> None:
        """Store the replies to requests, all of them or none."""
        await self._store.store(drawn)

    async def reload(self) -> ReloadedModels:
        """Load the models anew; what is being answered goes on. Raises RejoinderError when none can be loaded."""
        await self._generation.reload(reload_order(self._settings))
        return ReloadedModels(data=self.list_models().data, broken=dict(self.models.broken))

    @property
    def ping_seconds(self) -> float:
        """Return after how long a silent stream sends a comment."""
        return self._settings.ping_seconds

    async def _draw(self, bot: ModelCard, requests: Sequence[ReplyRequest], urgency: Urgency) -> list[Drawn]:
        note(model=bot.name)
        return await self._settle(bot, await self._draw_as_it_comes(bot, requests, urgency), urgency)

    async def _settle(
        self, bot: ModelCard, drawn: list[Drawn], urgency: Urgency, told: Mapping[int, str] | None = None
    ) -> list[Drawn]:
        if self._guard is None:
            return drawn
        return await self._guard.settle(drawn, lambda again: self._draw_as_it_comes(bot, again, urgency), told)

    async def _draw_as_it_comes(
        self, bot: ModelCard, requests: Sequence[ReplyRequest], urgency: Urgency
    ) -> list[Drawn]:
        started = time.monotonic()
        answered = await self._generation.answer(bot.name, requests, urgency)
        latency_ms = round((time.monotonic() - started) * 1000)
        count(tokens=sum(reply.tokens for one in answered for reply in one.answer.replies))
        return [
            Drawn(
                bot=one.model,
                request=request,
                answer=storable(one.answer),
                reply_ids=tuple(new_reply_id() for _ in one.answer.replies),
                latency_ms=latency_ms,
            )
            for request, one in zip(requests, answered, strict=True)
        ]

    def _completion(self, body: CompletionRequest) -> tuple[ModelCard, ReplyRequest]:
        bot = self.models.get(body.model)
        if body.max_tokens and body.max_completion_tokens and body.max_tokens != body.max_completion_tokens:
            raise BadRequestError("max_tokens and max_completion_tokens contradict each other", param="max_tokens")
        if body.top_logprobs is not None and not body.logprobs:
            raise BadRequestError("top_logprobs: needs logprobs to be true", param="top_logprobs")
        turns = self._turns(body.messages)
        sampling = body.model_copy(update={"max_tokens": body.max_tokens or body.max_completion_tokens})
        [request] = self._requests(bot, [turns], sampling)
        return bot, dataclasses.replace(request, logprobs=(body.top_logprobs or 0) if body.logprobs else None)

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

    def _check_candidates(self, n: int, best_of: int | None, histories: int) -> None:
        limit = self._settings.max_candidates
        if histories * max(n, best_of or 0) > limit:
            param = "best_of" if (best_of or 0) > n else "n"
            raise BadRequestError(f"{param}: one call may draw at most {limit} replies", param=param)

    def _requests(self, bot: ModelCard, histories: Sequence[Sequence[str]], sampling: Sampling) -> list[ReplyRequest]:
        n = sampling.n or 1
        if sampling.best_of is not None:
            if not bot.has_discriminator:
                raise BadRequestError(
                    f"best_of: the model {bot.name!r} has no discriminator to choose with", param="best_of"
                )
            if sampling.best_of < n:
                raise BadRequestError(f"best_of: {sampling.best_of} candidates cannot give n = {n}", param="best_of")
        self._check_candidates(n, sampling.best_of, len(histories))
        seed = first_seed(sampling.seed)
        given = sampling.model_dump(include={field.name for field in dataclasses.fields(Decoding)}, exclude_none=True)
        if given.get("max_tokens", 0) >= bot.limits.reply_tokens:
            del given["max_tokens"]  # a limit above the model's own is met by the model's own
        if "max_tokens" in given:  # one token leaves no room for the default of one word before the end token
            given.setdefault("min_tokens", min(Decoding.min_tokens, given["max_tokens"] - 1))
        decoding = dataclasses.replace(bot.decoding, **given)
        return [
            ReplyRequest(
                turns=tuple(turns),
                decoding=decoding,
                seed=following_seed(seed, index),
                n=n,
                best_of=sampling.best_of,
                stop=tuple(sampling.stop or ()),
            )
            for index, turns in enumerate(histories)
        ]

    def _entry(self, bot: ModelCard) -> ModelEntry:
        return ModelEntry(
            id=bot.name,
            created=self._started,
            digest=bot.digest,
            device=bot.device,
            precision=bot.precision,
            discriminator=bot.has_discriminator,
            limits=ModelLimits(context_tokens=bot.limits.context_tokens, reply_tokens=bot.limits.reply_tokens),
            decoding=PreferredDecoding(temperature=bot.decoding.temperature, top_p=bot.decoding.top_p),
            card=bot.card,
        )


def _urgency_of(requests: Sequence[ReplyRequest]) -> Urgency:
    """Return the class of a call: a list is worked through, and those who wait before a screen go first."""
    return Urgency.BATCH if len(requests) > 1 else Urgency.INTERACTIVE


def new_reply_id() -> str:
    """Return the id that a rating of a reply will name."""
    return f"reply-{uuid.uuid4().hex}"


def wire_logprobs(logprobs: Iterable[TokenLogprob]) -> ChoiceLogprobs:
    """Return the log-probabilities of tokens in OpenAI's shape."""
    return ChoiceLogprobs(
        content=[
            ContentLogprob(
                **_token(one.token, one.logprob),
                top_logprobs=[TopLogprob(**_token(token, logprob)) for token, logprob in one.likeliest],
            )
            for one in logprobs
        ]
    )


def _token(token: bytes, logprob: float) -> dict[str, Any]:
    # JSON has no infinity: what cannot come has a logprob that the wire format uses for it.
    return {"token": token.decode("utf-8", "replace"), "logprob": max(logprob, -9999.0), "bytes": list(token)}


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


def first_seed(given: int | None) -> int:
    """Return the seed that was given, or one drawn by chance."""
    return secrets.randbelow(DRAWN_SEEDS) if given is None else given


def following_seed(first: int, index: int) -> int:
    """Return the seed of the request `index` places after the first; 0 follows the largest there is."""
    return (first + index) % FIRST_TOO_LARGE_SEED


def fingerprint(bot: ModelCard) -> str:
    """Return the short name of the model's weights, and of how they compute: a seed repeats where this is the same."""
    return bot.digest[:12] if bot.precision == "fp32" else f"{bot.digest[:12]}-{bot.precision}"


def ignored_of(body: CompletionRequest) -> list[str]:
    """Return what of `body` played no part in the answer."""
    messages = [f"messages[{i}]" for i, message in enumerate(body.messages) if message.role in ("system", "developer")]
    return messages + [name for name in IGNORED_FIELDS if getattr(body, name)]


def usage_of(drawn: Sequence[Drawn]) -> Usage:
    """Return the tokens read and drawn."""
    prompt = sum(one.answer.context_tokens for one in drawn)
    completion = sum(reply.tokens for one in drawn for reply in one.answer.replies)
    return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)


def storable(answer: Answer) -> Answer:
    """Drop U+0000 from the replies: a byte-level model can write it, PostgreSQL cannot store it."""
    replies = tuple(dataclasses.replace(reply, text=reply.text.replace(NUL, "")) for reply in answer.replies)
    return dataclasses.replace(answer, replies=replies)
