"""A chatbot without weights, whose replies say what they answer."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fastapi import FastAPI

from app.engines import ThreadEngine
from app.main import build_generation, create_app
from app.settings import Settings
from chatbot.errors import RequestError
from chatbot.messages import Delta, Ended, Event, Failed
from chatbot.request import Answer, Decoding, Reply, ReplyRequest


def app_of(settings: Settings, *bots: "FakeBot", broken: dict[str, str] | None = None) -> FastAPI:
    """Return the service with an engine of `bots` in a thread."""
    return create_app(settings, build_generation(settings, [ThreadEngine(bots, broken)]))


@dataclass(frozen=True)
class FakeLimits:
    """Generous limits."""

    context_tokens: int = 128
    reply_tokens: int = 40


@dataclass
class FakeBot:
    """Answers "<last turn>, <seed>/<choice>"; notes every batch; can be made slow, held back or made to fail."""

    name: str = "fake"
    digest: str = "f" * 64
    card: str = "# A fake"
    config: dict[str, object] = field(default_factory=dict)
    limits: FakeLimits = FakeLimits()
    has_discriminator: bool = True
    device: str = "cpu"
    precision: str = "fp32"
    decoding: Decoding = field(default_factory=Decoding)
    batches: list[list[ReplyRequest]] = field(default_factory=list)
    seconds: float = 0.0
    gate: threading.Event | None = None
    """While it is set to an Event, a step waits for it."""
    began: threading.Event = field(default_factory=threading.Event)
    say: Callable[[ReplyRequest, int], str] = lambda request, choice: f"{request.turns[-1]}, {request.seed}/{choice}"
    _waiting: dict[int, tuple[ReplyRequest, bool]] = field(default_factory=dict)

    @property
    def busy(self) -> bool:
        """Return whether anybody waits."""
        return bool(self._waiting)

    def begin(self, key: int, request: ReplyRequest, *, stream: bool = False) -> None:
        """Take a request; "refuse me" is refused."""
        if "refuse me" in request.turns[-1]:
            raise RequestError("this one is refused", "turns")
        self._waiting[key] = (request, stream)

    def cancel(self, key: int) -> None:
        """Forget a request."""
        self._waiting.pop(key, None)

    def step(self) -> list[Event]:
        """Answer all that wait by echo; "break down" fails."""
        batch, self._waiting = self._waiting, {}
        self.batches.append([request for request, _ in batch.values()])
        self.began.set()
        if self.gate is not None:
            assert self.gate.wait(20), "nobody opened the gate"
        time.sleep(self.seconds)
        events: list[Event] = []
        for key, (request, stream) in batch.items():
            if "break down" in request.turns[-1]:
                events.append(Failed(key, "broken", "the fake broke down"))
                continue
            answer = self._answer(request)
            if stream and request.best_of is None:
                for choice, reply in enumerate(answer.replies):
                    middle = len(reply.text) // 2
                    events += [Delta(key, choice, reply.text[:middle]), Delta(key, choice, reply.text[middle:])]
            events.append(Ended(key, answer))
        return events

    def _answer(self, request: ReplyRequest) -> Answer:
        return Answer(
            replies=tuple(
                Reply(
                    text=self.say(request, choice),
                    finish_reason="stop",
                    tokens=5,
                    score=0.9 - 0.01 * choice if self.has_discriminator else None,
                )
                for choice in range(request.n)
            ),
            context_tokens=sum(len(turn.split()) for turn in request.turns),
            turns_used=min(len(request.turns), 4),
        )
