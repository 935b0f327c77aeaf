"""The JSON of OpenAI's older interface: a prompt instead of messages, text instead of a message."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from app.chat.schemas import CompletionRequest, Sampling, StreamOptions, Usage
from app.wire import NotYet, Text
from chatbot.request import MOST_LOGPROBS


def _prompts(value: object) -> object:
    return [value] if isinstance(value, str) else value


class TextCompletionRequest(Sampling):
    """Prompts to be answered alike, each a history of one turn; prompt i is drawn with `seed + i`."""

    model: Text
    prompt: Annotated[
        list[Text], Field(min_length=1), BeforeValidator(_prompts, json_schema_input_type=str | list[str])
    ]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | None = None

    # Would change the answer, and cannot be honoured: refused rather than silently dropped.
    echo: NotYet = None
    suffix: NotYet = None
    logit_bias: NotYet = None
    frequency_penalty: NotYet = None
    presence_penalty: NotYet = None

    user: Any = None

    def as_chats(self, seeds: Sequence[int]) -> list[CompletionRequest]:
        """Return what is asked for each prompt, with its seed, in the words of the chat interface."""
        same = self.model_dump(include=set(Sampling.model_fields) | {"model", "user"})
        same |= {"stream_options": self.stream_options, "logprobs": self.logprobs is not None}
        return [
            CompletionRequest(
                **{**same, "seed": seed},
                messages=[{"role": "user", "content": prompt}],  # type: ignore[list-item] # read as JSON is
                top_logprobs=self.logprobs,
            )
            for seed, prompt in zip(seeds, self.prompt, strict=True)
        ]


class TextLogprobs(BaseModel):
    """The model's own log-probabilities, as parallel lists; `text_offset` counts characters of the reply."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(BaseModel):
    """One of the replies, those to the first prompt first; `reply_id` is what a rating names."""

    index: int
    reply_id: str
    text: str
    finish_reason: str
    logprobs: TextLogprobs | None = None
    discriminator_score: float | None


class TextCompletion(BaseModel):
    """The answer to the prompts; `id` is the reply_id of choice 0."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage
    system_fingerprint: str
    seed: int
    """Sent or drawn: with it the same request gives the same replies."""
    ignored: list[str]
