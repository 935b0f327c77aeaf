"""Storing replies before they are sent; those that are ready at the same moment are stored as one unit of work.

A unit of work costs more than what is in it: a thread is woken, and the disk is waited for. While one is under way, the
replies that come meanwhile gather for the next.
"""

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import exc
from sqlalchemy.orm import Session

from app.chat import repository
from app.database import Database, now
from chatbot.messages import ModelCard
from chatbot.request import Answer, Reply, ReplyRequest

_MOST = 256
"""Requests stored together at most: the first of them waits for all."""


REFUSAL: Final = "refusal"
"""The system that says what is told in place of a reply; it is not the model's doing, nor to its credit."""


@dataclass(frozen=True)
class Provenance:
    """Which random stream a reply is from, or that no model wrote it."""

    seed: int
    choice: int
    refused: bool = False


@dataclass(frozen=True)
class Drawn:
    """The replies to one request, drawn and not stored yet."""

    bot: ModelCard
    request: ReplyRequest
    answer: Answer
    reply_ids: tuple[str, ...]
    latency_ms: int
    sources: Mapping[int, Provenance] = field(default_factory=dict)
    """By place: where a reply is from that is not the one drawn there at first."""

    def provenance(self, place: int) -> Provenance:
        """Return where the reply at `place` is from."""
        return self.sources.get(place, Provenance(self.request.seed, place))

    def with_reply(self, place: int, reply: Reply, source: Provenance) -> "Drawn":
        """Return the same with another reply at `place`."""
        replies = [*self.answer.replies]
        replies[place] = reply
        answer = replace(self.answer, replies=tuple(replies))
        return replace(self, answer=answer, sources={**self.sources, place: source})

    def in_order(self, order: Sequence[int]) -> "Drawn":
        """Return the same with the replies of the places `order`."""
        answer = replace(self.answer, replies=tuple(self.answer.replies[place] for place in order))
        return replace(self, answer=answer, sources={to: self.provenance(place) for to, place in enumerate(order)})

    @property
    def replies(self) -> list[tuple[str, Reply]]:
        """Return each reply with its id."""
        return list(zip(self.reply_ids, self.answer.replies, strict=True))


def keep(session: Session, drawn: Sequence[Drawn]) -> None:
    """Store replies with all that made them: model, weights, decoding, seed and the turns they answer."""
    refusal: int | None = None
    rows: list[dict[str, Any]] = []
    contexts = repository.contexts(session, [messages_of(one.request.turns) for one in drawn])
    systems = repository.checkpoints(session, [(one.bot.name, one.bot.digest, _decoding(one.request)) for one in drawn])
    created_at = now()
    for one, context, system in zip(drawn, contexts, systems, strict=True):
        sources = [one.provenance(place) for place in range(len(one.replies))]
        if refusal is None and any(source.refused for source in sources):
            refusal = repository.system_without_weights(session, "baseline", REFUSAL)
        rows += [
            {
                "id": reply_id,
                "system_id": refusal if source.refused else system,
                "context_id": context,
                "text": reply.text,
                "seed": source.seed,
                "choice": source.choice,
                "finish_reason": _ended(reply, source),
                "tokens": reply.tokens,
                "context_tokens": one.answer.context_tokens,
                "turns_used": one.answer.turns_used,
                "score": reply.score,
                "latency_ms": one.latency_ms,
                "created_at": created_at,
            }
            for (reply_id, reply), source in zip(one.replies, sources, strict=True)
        ]
    repository.add_responses(session, rows)


class ReplyStore:
    """Stores what requests on one event loop have had drawn."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[Sequence[Drawn], asyncio.Future[None]]] = []
        self._work: asyncio.Task[None] | None = None

    async def store(self, drawn: Sequence[Drawn]) -> None:
        """Return when `drawn` is stored, all of it. Raises what the database raises, and nothing of it is stored."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((drawn, done))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._store_all())
        await done

    async def _store_all(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            try:
                await self._write([one for drawn, _ in group for one in drawn])
            except (exc.DataError, exc.IntegrityError) as error:
                # One of them cannot be stored; the others must not pay for it.
                for drawn, done in group:
                    _settle(done, error if len(group) == 1 else await self._fault_of(drawn))
            except Exception as error:
                for _, done in group:
                    _settle(done, error)
            else:
                for _, done in group:
                    _settle(done, None)

    async def _fault_of(self, drawn: Sequence[Drawn]) -> Exception | None:
        try:
            await self._write(drawn)
        except Exception as error:
            return error
        return None

    async def _write(self, drawn: Sequence[Drawn]) -> None:
        await self._database.write(lambda session: keep(session, drawn))


def _settle(done: "asyncio.Future[None]", error: Exception | None) -> None:
    if done.done():  # its client has left
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


def messages_of(turns: Sequence[str]) -> list[dict[str, str]]:
    """Return `turns` with their speakers: the last is the user's."""
    return [
        {"role": "user" if (len(turns) - position) % 2 else "assistant", "content": text}
        for position, text in enumerate(turns)
    ]


def _ended(reply: Reply, source: Provenance) -> str:
    """Return how a reply ended; one that a guard has cut in a stream was cut, as at a limit."""
    if reply.finish_reason in ("stop", "length"):
        return reply.finish_reason
    return "stop" if source.refused else "length"


def _decoding(request: ReplyRequest) -> dict[str, Any]:
    """Return all that makes this model with these settings a system of its own to its judges."""
    decoding: dict[str, Any] = {**dataclasses.asdict(request.decoding), "best_of": request.best_of}
    # Left out where there is none: systems stored before there were stops keep their names.
    return {**decoding, "stop": list(request.stop)} if request.stop else decoding
