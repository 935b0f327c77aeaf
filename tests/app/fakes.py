"""A chatbot without weights, whose replies say what they answer."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chatbot.bot import Answer, Reply, ReplyRequest
from chatbot.errors import RequestError


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
    batches: list[list[ReplyRequest]] = field(default_factory=list)
    seconds: float = 0.0
    gate: threading.Event | None = None
    """While it is set to an Event, `answer` waits for it."""
    began: threading.Event = field(default_factory=threading.Event)
    say: Callable[[ReplyRequest, int], str] = lambda request, choice: f"{request.turns[-1]}, {request.seed}/{choice}"

    def answer(self, requests: Sequence[ReplyRequest]) -> list[Answer]:
        """Answer by echo; "refuse me" and "break down" are refused and fail."""
        self.batches.append(list(requests))
        self.began.set()
        if self.gate is not None:
            assert self.gate.wait(20), "nobody opened the gate"
        time.sleep(self.seconds)
        for request in requests:
            if "refuse me" in request.turns[-1]:
                raise RequestError("this one is refused", "turns")
            if "break down" in request.turns[-1]:
                raise RuntimeError("the fake broke down")
        return [
            Answer(
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
            for request in requests
        ]
