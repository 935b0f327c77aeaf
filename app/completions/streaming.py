"""Text completions as server-sent events: the chat's, with text in place of messages."""

from typing import Any

from app.chat.schemas import ChoiceLogprobs, CompletionRequest
from app.chat.service import ChatService, DrawnStream
from app.chat.streaming import CompletionEvents
from app.completions.schemas import TextLogprobs


def text_logprobs(logprobs: ChoiceLogprobs, before: bytes = b"") -> TextLogprobs:
    """Return log-probabilities as parallel lists; `before` is what the reply began with."""
    offsets = []
    for one in logprobs.content:
        offsets.append(len(before.decode("utf-8", "ignore")))
        before += bytes(one.bytes)
    return TextLogprobs(
        tokens=[one.token for one in logprobs.content],
        token_logprobs=[one.logprob for one in logprobs.content],
        top_logprobs=[{top.token: top.logprob for top in one.top_logprobs} for one in logprobs.content],
        text_offset=offsets,
    )


class TextCompletionEvents(CompletionEvents):
    """Send a text completion while it is drawn."""

    kind = "text_completion"

    def __init__(self, service: ChatService, body: CompletionRequest, stream: DrawnStream) -> None:
        super().__init__(service, body, stream)
        self._said: dict[int, bytes] = {}
        """Of each choice, as far as log-probabilities were told: where the next token begins."""

    def _choice(
        self,
        index: int,
        delta: dict[str, Any],
        logprobs: ChoiceLogprobs | None = None,
        finish_reason: str | None = None,
    ) -> dict[str, Any]:
        said = None
        if logprobs is not None:
            before = self._said.get(index, b"")
            said = text_logprobs(logprobs, before)
            self._said[index] = before + b"".join(bytes(one.bytes) for one in logprobs.content)
        return {
            "index": index,
            "reply_id": self._stream.reply_ids[index],
            "text": delta.get("content", ""),
            "logprobs": None if said is None else said.model_dump(),
            "finish_reason": finish_reason,
        }
