"""A completion as server-sent events: OpenAI's chunks, a comment now and then, an error frame when it comes to that.

A stream that is cut without `[DONE]` looks like success to clients, so whatever goes wrong is said in a frame.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.chat.schemas import ChoiceLogprobs, CompletionRequest
from app.chat.service import ChatService, DrawnStream, fingerprint, ignored_of, usage_of, wire_logprobs
from app.chat.storing import Drawn
from app.errors import detail, from_exception
from app.generation import Update
from app.request_facts import note

_PING = b": ping\n\n"
_DONE = b"data: [DONE]\n\n"
_TEXT = "\x00"
"""Stands for the text in a frame that has none yet; no name of a model holds it, nor any reply."""


class CompletionEvents(Response):
    """Send a completion while it is drawn; when the client leaves, its lanes are free at once.

    `keep` stores what was drawn, before the end is told.
    """

    kind = "chat.completion.chunk"
    """What every event says it is."""

    def __init__(
        self,
        service: ChatService,
        body: CompletionRequest,
        stream: DrawnStream,
        keep: Callable[[Drawn], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(
            media_type="text/event-stream", headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        )
        del self.headers["content-length"]
        self._service = service
        self._body = body
        self._stream = stream
        self._keep = keep or service.store
        self._created = int(time.time())
        self._around: dict[int, tuple[bytes, bytes]] = {}
        """By choice: what stands before and behind the text in its frames."""
        self._usage = bool(body.stream_options and body.stream_options.include_usage)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end or the client has left."""
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            self._stream.close()
            sending.cancel()
            leaving.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._frames()) as frames:
            # While a slow reader keeps us here, what is written meanwhile is joined to one piece.
            async for frame, more in frames:
                await send({"type": "http.response.body", "body": frame, "more_body": more})

    async def _frames(self) -> AsyncGenerator[tuple[bytes, bool], None]:
        """Yield what to send, and whether there is more to come: each sending wakes the client, so there are few."""
        frames = [self._frame([role]) for role in self._roles()]
        try:
            while True:
                update = await self._stream.next(self._service.ping_seconds)
                if update is None:
                    frames.append(_PING)
                else:
                    frames += self._pieces(update)
                    if update.ended is not None:
                        drawn = await self._stream.drawn(update.ended)
                        await self._keep(drawn)  # a reply that cannot be rated is not told to be there
                        yield b"".join([*frames, *self._ends(drawn), _DONE]), False
                        return
                if frames:
                    yield b"".join(frames), True
                    frames = []
        except Exception as exception:
            error = from_exception(exception)
            note(error=error.code or error.type)
            yield b"".join([*frames, _event(detail(error))]), False

    def _roles(self) -> list[dict[str, Any]]:
        """Return what each choice begins with."""
        return [self._choice(index, {"role": "assistant", "content": ""}) for index in range(self._stream.request.n)]

    def _pieces(self, update: Update) -> list[bytes]:
        """Return the frames of the text, or of the log-probabilities, that have come."""
        frames = []
        for index in sorted({*update.texts, *update.logprobs}):
            text, logprobs = update.texts.get(index, ""), update.logprobs.get(index)
            if not text and not logprobs:
                continue
            if logprobs:
                frames.append(self._frame([self._choice(index, {"content": text}, wire_logprobs(logprobs))]))
            else:
                frames.append(self._word(index, text))
        return frames

    def _word(self, index: int, text: str) -> bytes:
        """Return the frame of a piece of text, of which nothing but the text differs from the one before."""
        around = self._around.get(index)
        if around is None:
            frame = self._frame([self._choice(index, {"content": _TEXT})])
            before, after = frame.split(json.dumps(_TEXT).encode())
            around = self._around[index] = before, after
        return around[0] + json.dumps(text, ensure_ascii=False).encode() + around[1]

    def _ends(self, drawn: Drawn) -> list[bytes]:
        """Return the frames that end each choice, and the usage."""
        frames = []
        for index, reply in enumerate(drawn.answer.replies):
            told = self._stream.told.get(index)
            rest = reply.text.removeprefix(told or "")
            if rest or told is None:  # all of it, where nothing could be told before all was there
                whole = told is None and reply.logprobs is not None
                logprobs = wire_logprobs(reply.logprobs or ()) if whole else None
                frames.append(self._frame([self._choice(index, {"content": rest}, logprobs)]))
            end = self._choice(index, {}, finish_reason=reply.finish_reason)
            end["discriminator_score"] = reply.score
            frames.append(
                self._frame(
                    [end],
                    system_fingerprint=fingerprint(drawn.bot),
                    seed=drawn.request.seed,
                    turns_used=drawn.answer.turns_used,
                    ignored=ignored_of(self._body),
                )
            )
        if self._usage:
            frames.append(self._frame([], usage=usage_of([drawn]).model_dump()))
        return frames

    def _choice(
        self,
        index: int,
        delta: dict[str, Any],
        logprobs: ChoiceLogprobs | None = None,
        finish_reason: str | None = None,
    ) -> dict[str, Any]:
        return {
            "index": index,
            "reply_id": self._stream.reply_ids[index],
            "delta": delta,
            "logprobs": None if logprobs is None else logprobs.model_dump(),
            "finish_reason": finish_reason,
        }

    def _frame(self, choices: list[dict[str, Any]], **more: object) -> bytes:
        usage = {"usage": None} if self._usage else {}
        return _event(
            {
                "id": self._stream.reply_ids[0],
                "object": self.kind,
                "created": self._created,
                "model": self._stream.bot.name,
                "system_fingerprint": fingerprint(self._stream.bot),
                "choices": choices,
                **usage,
                **more,
            }
        )


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
