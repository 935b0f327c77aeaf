"""Answers prompts as the chat service answers messages; what differs is only how it is asked and said."""

import time

from app.chat.schemas import CompletionRequest
from app.chat.service import (
    ChatService,
    fingerprint,
    first_seed,
    following_seed,
    ignored_of,
    usage_of,
    wire_logprobs,
)
from app.completions.schemas import TextChoice, TextCompletion, TextCompletionRequest
from app.completions.streaming import TextCompletionEvents, text_logprobs
from app.errors import BadRequestError
from chatbot.engine.waiting import Urgency


class TextCompletionService:
    """Answers prompts with the loaded models."""

    def __init__(self, chat: ChatService) -> None:
        self._chat = chat

    async def complete(self, body: TextCompletionRequest) -> TextCompletion:
        """Return the `n` replies to each prompt. Raises ServiceError or RequestError saying what is wrong."""
        chats = self._chats(body)
        drawn = await self._chat.draw_completions(chats, Urgency.BATCH if len(chats) > 1 else Urgency.INTERACTIVE)
        await self._chat.store(*drawn)
        replies = [(reply_id, reply) for one in drawn for reply_id, reply in one.replies]
        return TextCompletion(
            id=replies[0][0],
            created=int(time.time()),
            model=drawn[0].bot.name,
            choices=[
                TextChoice(
                    index=index,
                    reply_id=reply_id,
                    text=reply.text,
                    finish_reason=reply.finish_reason,
                    logprobs=None if reply.logprobs is None else text_logprobs(wire_logprobs(reply.logprobs)),
                    discriminator_score=reply.score,
                )
                for index, (reply_id, reply) in enumerate(replies)
            ],
            usage=usage_of(drawn),
            system_fingerprint=fingerprint(drawn[0].bot),
            seed=drawn[0].request.seed,
            ignored=ignored_of(chats[0]),
        )

    async def stream(self, body: TextCompletionRequest) -> TextCompletionEvents:
        """Return the replies to one prompt as events. Raises as `complete` does for what is known to be wrong."""
        if len(body.prompt) > 1:
            raise BadRequestError(f"stream: {len(body.prompt)} prompts; one at a time can be streamed", param="stream")
        [chat] = self._chats(body)
        return TextCompletionEvents(self._chat, chat, await self._chat.stream(chat))

    def _chats(self, body: TextCompletionRequest) -> list[CompletionRequest]:
        """Return what is asked for each prompt; raises BadRequestError where a prompt cannot be."""
        for index, text in enumerate(body.prompt):
            self._chat.check_text(text, f"prompt[{index}]" if len(body.prompt) > 1 else "prompt")
        first = first_seed(body.seed)
        return body.as_chats([following_seed(first, index) for index in range(len(body.prompt))])
