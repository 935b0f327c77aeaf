"""Guards over what is served: a faulty reply is drawn anew, and one that must not be told gives way to a refusal.

A new draw has a seed that follows from the first one, so a request with a seed still has one answer. Knows requests and
replies; no model, no HTTP and no database.
"""

import asyncio
import importlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from app.chat.storing import Drawn, Provenance, messages_of
from app.errors import OverloadedError, UnavailableError
from app.settings import Settings
from chatbot.errors import RejoinderError
from chatbot.guards import Blocklist, Fault, fault_of, language_of, loops, redraw_seed
from chatbot.request import Reply, ReplyRequest

log = logging.getLogger(__name__)

FILTERED: Final = "content_filter"
"""The finish reason that OpenAI's clients know."""
REDRAWS: Final = 3
_LONGEST_LOOP: Final = 500
"""Characters at the end of a text in which a loop is looked for while it is written."""
REFUSALS: Final = {"en": "I would rather not answer that.", "zh": "这个我不想回答。"}

Hook = Callable[[list[dict[str, str]], str], str | None]
"""Gets the messages and a reply; returns None, or what is said instead."""
Redraw = Callable[[Sequence[ReplyRequest]], Awaitable[list[Drawn]]]


@dataclass(frozen=True)
class _Finding:
    fault: Fault
    instead: str | None = None
    """What the hook wants said."""


class Guard:
    """Looks at replies before they are told."""

    def __init__(self, blocklist: Blocklist, hook: Hook | None = None) -> None:
        self.blocklist = blocklist
        self._hook = hook

    @classmethod
    def of(cls, settings: Settings) -> "Guard | None":
        """Return the guard that `settings` ask for. Raises RejoinderError for a list or a hook that cannot be used."""
        if not settings.guards:
            return None
        hook = None if settings.guard_hook is None else load_hook(settings.guard_hook)
        return cls(Blocklist.standard(settings.blocklist), hook)

    @property
    def wants_whole_replies(self) -> bool:
        """Return whether nothing can be told of a reply before all of it is there."""
        return self._hook is not None

    async def settle(
        self, drawn: Sequence[Drawn], redraw: Redraw, told: Mapping[int, str] | None = None
    ) -> list[Drawn]:
        """Return `drawn` with faulty replies drawn anew, cut or refused.

        Of `told` replies (by place, of the only request) a part is with the client already: they can only be cut
        there. What is empty or a loop after REDRAWS draws stays as it is. At temperature 0 a draw cannot change.
        """
        told = told or {}
        settled = list(drawn)
        found = [await self._look_at(one) for one in settled]
        for attempt in range(1, REDRAWS + 1):
            faulty = {
                index: [place for place, one in findings.items() if one.instead is None and not told.get(place)]
                for index, findings in enumerate(found)
                if drawn[index].request.decoding.temperature > 0
            }
            owners = [index for index, places in faulty.items() if places]
            if not owners:
                break
            requests = [_again(drawn[index].request, attempt, len(faulty[index])) for index in owners]
            try:
                fresh = await redraw(requests)
            except (OverloadedError, UnavailableError):
                break  # the replies are there: better these than none
            for index, one in zip(owners, fresh, strict=True):
                findings = await self._look_at(one)
                settled[index] = replace(settled[index], latency_ms=settled[index].latency_ms + one.latency_ms)
                for choice, place in enumerate(faulty[index]):
                    source = Provenance(one.request.seed, choice)
                    settled[index] = settled[index].with_reply(place, one.answer.replies[choice], source)
                    if choice in findings:
                        found[index][place] = findings[choice]
                    else:
                        del found[index][place]
        for index, findings in enumerate(found):
            for place, finding in findings.items():
                settled[index] = _concluded(settled[index], place, finding, told.get(place, ""))
        return [_ranked(one) for one in settled]

    async def _look_at(self, drawn: Drawn) -> dict[int, _Finding]:
        """Return what is wrong with replies, by their place."""
        findings = {}
        for place, reply in enumerate(drawn.answer.replies):
            fault = fault_of(reply.text, self.blocklist)
            if fault is not None:
                findings[place] = _Finding(fault)
            elif self._hook is not None:
                instead = await self._ask(self._hook, drawn.request.turns, reply.text)
                if instead is not None:
                    findings[place] = _Finding("blocked", instead)
        return findings

    async def _ask(self, hook: Hook, turns: Sequence[str], text: str) -> str | None:
        try:
            instead = await asyncio.to_thread(hook, messages_of(turns), text)
        except Exception:
            log.exception("the guard's hook failed; the reply is refused")
            return _refusal(turns)
        if instead is None or isinstance(instead, str):
            return instead
        log.error("the guard's hook returned %r, expected None or a text; the reply is refused", type(instead).__name__)
        return _refusal(turns)


class Told:
    """What may be told of a streamed reply while it is written, and what was: its end is held back for a while.

    So long as a blocked word may still become whole, nothing of it is told. Once there is a fault, nothing more is.
    Looked at character by character: what is told must not depend on how the text was cut into pieces.
    """

    def __init__(self, guard: Guard) -> None:
        self._blocklist = guard.blocklist
        self._text = ""
        self._stopped = False
        self._told = 0

    def add(self, piece: str) -> str:
        """Take the next piece in and return what may be told now."""
        held = self._blocklist.longest + 1  # a word is blocked only if no letter follows it
        begin = self._told
        for character in piece:
            self._text += character
            self._stopped = self._stopped or (
                self._blocklist.finds(self._text[-held - 1 :], whole=False)
                or ((not character.isalnum() or not character.isascii()) and loops(self._text[-_LONGEST_LOOP:]))
            )
            if self._stopped:
                break
            self._told = max(self._told, len(self._text) - held)
        return self._text[begin : self._told]


def load_hook(path: str) -> Hook:
    """Return the function that `path`, such as `mymodule:check`, names. Raises RejoinderError."""
    module, _, name = path.partition(":")
    try:
        hook: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RejoinderError(
            f"setting guard_hook: {path!r} cannot be loaded ({error}), expected module:function"
        ) from None
    if not callable(hook):
        raise RejoinderError(f"setting guard_hook: {path} is not a function")
    loaded: Hook = hook
    return loaded


def _again(request: ReplyRequest, attempt: int, count: int) -> ReplyRequest:
    return replace(request, seed=redraw_seed(request.seed, attempt), n=count)


def _concluded(drawn: Drawn, place: int, finding: _Finding, told: str) -> Drawn:
    """Return `drawn` with what is told in place of a reply that stayed faulty."""
    reply = drawn.answer.replies[place]
    if told:
        return drawn.with_reply(place, replace(reply, text=told, finish_reason=FILTERED), drawn.provenance(place))
    if finding.fault != "blocked":
        return drawn
    text = finding.instead if finding.instead is not None else _refusal(drawn.request.turns)
    refusal = Reply(text, FILTERED, 0, None, None if reply.logprobs is None else ())
    return drawn.with_reply(place, refusal, replace(drawn.provenance(place), refused=True))


def _ranked(drawn: Drawn) -> Drawn:
    """Return the replies of a ranked request with the highest scores first, refusals last."""
    if drawn.request.best_of is None or not drawn.sources:
        return drawn
    replies = drawn.answer.replies
    order = sorted(
        range(len(replies)), key=lambda place: -1.0 if (s := replies[place].score) is None else s, reverse=True
    )
    return drawn.in_order(order)


def _refusal(turns: Sequence[str]) -> str:
    return REFUSALS[language_of(turns[-1])]
