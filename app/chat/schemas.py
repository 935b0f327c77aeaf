"""The JSON of completions, lists of contexts and models: OpenAI's field names, and ours beside them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from app.wire import NotYet, Text, WireModel
from chatbot.request import MOST_LOGPROBS, MOST_STOPS, SEED_LIMIT

FIRST_TOO_LARGE_SEED = SEED_LIMIT


def _stops(value: object) -> object:
    return [value] if isinstance(value, str) else value


Stops = Annotated[
    list[Annotated[Text, Field(min_length=1, max_length=256)]], Field(max_length=MOST_STOPS), BeforeValidator(_stops)
]


class Sampling(WireModel):
    """How replies are drawn; null and absent mean the model's default. Ranges are the generator's to check."""

    n: Annotated[int, Field(ge=1)] | None = None
    best_of: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=FIRST_TOO_LARGE_SEED)] | None = None
    temperature: Annotated[float, Field(allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(allow_inf_nan=False)] | None = None
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    repetition_penalty: Annotated[float, Field(allow_inf_nan=False)] | None = None
    no_repeat_ngram: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    min_tokens: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: Stops | None = None


class TextPart(WireModel):
    """A piece of a message's text."""

    type: Literal["text"]
    text: Text


def _content_kind(value: object) -> str:
    return "(parts)" if isinstance(value, list) else "(text)"


Content = Annotated[
    Annotated[Text, Tag("(text)")] | Annotated[list[TextPart], Tag("(parts)")],
    Discriminator(_content_kind),
]


class Message(WireModel):
    """One message of the history. What else clients send back of an earlier answer is accepted and not read."""

    role: Literal["user", "assistant", "system", "developer"]
    content: Content | None = None
    name: Any = None
    refusal: Any = None
    annotations: Any = None
    audio: Any = None
    function_call: Any = None
    tool_calls: Any = None
    reasoning_content: Any = None

    @property
    def text(self) -> str:
        """Return the text, parts joined."""
        if self.content is None:
            return ""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


def _plain_text_format(value: object) -> object:
    if value is None or (isinstance(value, dict) and value.get("type") == "text"):
        return value
    raise PydanticCustomError("unsupported_parameter", "only {'type': 'text'} is supported by this server")


def _text_modality(value: object) -> object:
    if value is None or value == ["text"]:
        return value
    raise PydanticCustomError("unsupported_parameter", "only ['text'] is supported by this server")


class StreamOptions(BaseModel):
    """How a stream ends; what else clients set here changes nothing that we send."""

    include_usage: bool | None = None


class CompletionRequest(Sampling):
    """A history to be answered."""

    model: Text
    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | None = None

    # Would change the answer, and cannot be honoured yet: refused rather than silently dropped.
    logit_bias: NotYet = None
    frequency_penalty: NotYet = None
    presence_penalty: NotYet = None
    response_format: Annotated[object, BeforeValidator(_plain_text_format)] = None
    modalities: Annotated[object, BeforeValidator(_text_modality)] = None

    # Sent by clients by themselves: accepted, not read, named in the answer's `ignored`.
    functions: Any = None
    function_call: Any = None
    metadata: Any = None
    parallel_tool_calls: Any = None
    prompt_cache_key: Any = None
    reasoning_effort: Any = None
    safety_identifier: Any = None
    service_tier: Any = None
    store: Any = None
    tool_choice: Any = None
    tools: Any = None
    user: Any = None
    verbosity: Any = None


IGNORED_FIELDS = (
    "functions",
    "function_call",
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning_effort",
    "safety_identifier",
    "service_tier",
    "store",
    "tool_choice",
    "tools",
    "user",
    "verbosity",
)


class RepliesRequest(Sampling):
    """Many contexts to be answered alike; context i is drawn with `seed + i`."""

    model: Text
    contexts: Annotated[list[Annotated[list[Text], Field(min_length=1)]], Field(min_length=1)]


class TopLogprob(BaseModel):
    """A token and its log-probability; `bytes` is exact, `token` may show half a character as U+FFFD."""

    token: str
    logprob: float
    bytes: list[int]


class ContentLogprob(TopLogprob):
    """A token of the reply, and the likeliest in its place."""

    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(BaseModel):
    """The model's own log-probabilities: at temperature 1, nothing cut or penalised; without the end token."""

    content: list[ContentLogprob]
    refusal: None = None


class AnswerMessage(BaseModel):
    """The reply as a message."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(BaseModel):
    """One of the `n` replies; `reply_id` is what a rating names."""

    index: int
    reply_id: str
    message: AnswerMessage
    finish_reason: str
    logprobs: ChoiceLogprobs | None = None
    discriminator_score: float | None


class Usage(BaseModel):
    """Tokens read and drawn."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(BaseModel):
    """The answer to a history; `id` is the reply_id of choice 0."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    system_fingerprint: str
    seed: int
    """Sent or drawn: with it the same request gives the same replies."""
    turns_used: int
    """How many of the newest turns the model could read."""
    ignored: list[str]
    """What was sent and played no part: system messages, and parameters that clients add by themselves."""


class ServedReply(BaseModel):
    """One reply to a context."""

    reply_id: str
    text: str
    finish_reason: str
    tokens: int
    discriminator_score: float | None


class ContextReplies(BaseModel):
    """The replies to one of the contexts."""

    index: int
    seed: int
    replies: list[ServedReply]
    context_tokens: int
    turns_used: int


class Replies(BaseModel):
    """The answers to a list of contexts, in its order."""

    object: Literal["list"] = "list"
    created: int
    model: str
    data: list[ContextReplies]
    usage: Usage
    system_fingerprint: str


class ModelLimits(BaseModel):
    """How much the model can read and write."""

    context_tokens: int
    reply_tokens: int


class PreferredDecoding(BaseModel):
    """How a model draws its replies where a request does not say."""

    temperature: float
    top_p: float


class ModelEntry(BaseModel):
    """A loaded model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "rejoinder"
    digest: str
    device: str
    precision: str
    discriminator: bool
    limits: ModelLimits
    decoding: PreferredDecoding
    card: str


class ModelList(BaseModel):
    """The loaded models."""

    object: Literal["list"] = "list"
    data: list[ModelEntry]


class ReloadedModels(ModelList):
    """The models after a reload, and why others of the directory are not among them."""

    broken: dict[str, str]
