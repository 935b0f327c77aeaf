"""Between text and the engine's token ids: requests come in, pieces of text and whole answers come out, step by step.

Not safe for several threads, as the engine is not.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from chatbot.bundle import Bundle
from chatbot.cleaning import clean_turn
from chatbot.decoding import derive_seeds, with_limit
from chatbot.engine.engine import Engine, Finished, TokenOdds, Work, pad
from chatbot.fault_report import name_fault
from chatbot.messages import Delta, Ended, Event, Failed
from chatbot.reply_text import ReplyText
from chatbot.request import Answer, Reply, ReplyRequest, TokenLogprob
from chatbot.reranking import best_first, human_probability
from chatbot.tokenizer import TURN, Tokenizer

_PACE: Final = 0.02
"""Seconds between two tellings of what streamed replies say: one costs more than a token, and nobody reads faster."""


@dataclass
class _Writing:
    """One reply as far as it has come."""

    text: ReplyText
    tokens: list[int] = field(default_factory=list)
    read: int = 0
    """How many of the tokens are in the text."""
    logprobs: list[TokenLogprob] = field(default_factory=list)
    told: int = 0
    """How many of the log-probabilities have been told."""
    begun: bool = False
    """Something of it has been told."""
    done: bool = False
    ended: bool = False
    """By its own end token or a stop, and not at its limit."""


@dataclass
class _Job:
    """A request in work."""

    key: int
    request: ReplyRequest
    context: list[int]
    turns_used: int
    stream: bool
    replies: list[_Writing]


class Answering:
    """Answer requests with the models of a bundle through `engine`, which writes with the bundle's generator."""

    def __init__(self, bundle: Bundle, engine: Engine, device: str) -> None:
        self._bundle = bundle
        self._engine = engine
        self._device = torch.device(device)
        self._jobs: dict[int, _Job] = {}
        self._told = -math.inf
        self.last_fault: Exception | None = None

    @property
    def busy(self) -> bool:
        """Return whether a step would do anything."""
        return self._engine.busy

    def begin(self, key: int, request: ReplyRequest, *, stream: bool = False) -> None:
        """Let a request, which has been checked, be answered by the coming steps.

        With `stream` its text is told as it comes, in pieces of _PACE seconds; a ranked reply is known only when all
        candidates are there, and comes in one piece.
        """
        tokenizer, limits = self._bundle.tokenizer, self._bundle.limits
        context, used = encode_context(tokenizer, request.turns, limits.context_tokens)
        count = request.best_of or request.n
        stream = stream and request.best_of is None
        replies = [_Writing(ReplyText(tokenizer, request.stop)) for _ in range(count)]
        self._jobs[key] = _Job(key, request, context, used, stream, replies)
        self._engine.submit(
            Work(
                key,
                context,
                with_limit(request.decoding, limits.reply_tokens),
                derive_seeds(request.seed, count),
                watched=stream or bool(request.stop),
                logprobs=request.logprobs,
            )
        )

    def cancel(self, key: int) -> None:
        """Give up the request `key`, if it is still in work; its lanes are free at once."""
        if self._jobs.pop(key, None) is not None:
            self._engine.cancel(key)

    def step(self) -> list[Event]:
        """Write one token of every reply in work, and say what came of it. A request that fails hurts no other."""
        step = self._engine.step()
        events: list[Event] = []
        touched: dict[int, _Job] = {}
        due = bool(step.written) and self._due()
        for written in step.written:
            job = self._jobs[written.key]
            reply = job.replies[written.reply]
            reply.tokens.append(written.token)
            if written.odds is not None:
                reply.logprobs += self._logprobs((written.token,), (written.odds,))
            if (due or not reply.begun or job.request.stop) and written.token != TURN:
                self._read(job, written.reply, events)
                touched[job.key] = job
        for finished in step.finished:
            job = self._jobs[finished.key]
            self._take(job, finished, events)
            touched[job.key] = job
        for key, error in step.failed:
            self._fail(self._jobs[key], error, events)
        self._conclude([job for job in touched.values() if all(reply.done for reply in job.replies)], events)
        return events

    def _due(self) -> bool:
        """Return whether the streamed replies are to be told again."""
        now = time.monotonic()
        due = now - self._told >= _PACE
        if due:
            self._told = now
        return due

    def _read(self, job: _Job, choice: int, events: list[Event]) -> None:
        """Tell how a reply goes on, and end it where a stop has come."""
        reply = job.replies[choice]
        self._tell(job, choice, self._text(reply), events)
        if reply.text.stopped:
            self._engine.end(job.key, choice)
            reply.done = reply.ended = True

    def _take(self, job: _Job, finished: Finished, events: list[Event]) -> None:
        reply = job.replies[finished.reply]
        if reply.done:  # a stop ended it with this very token
            return
        if not reply.tokens:  # nobody watched it
            reply.logprobs = self._logprobs(finished.tokens, finished.odds)
        reply.tokens = list(finished.tokens)
        self._tell(job, finished.reply, self._text(reply) + reply.text.finish(), events)
        reply.done, reply.ended = True, finished.ended or reply.text.stopped

    def _text(self, reply: _Writing) -> str:
        """Return what the tokens that have not been read yet add to the text."""
        fresh = reply.tokens[reply.read :]
        reply.read = len(reply.tokens)
        return reply.text.add(fresh)

    def _tell(self, job: _Job, choice: int, delta: str, events: list[Event]) -> None:
        reply = job.replies[choice]
        logprobs = tuple(reply.logprobs[reply.told :])
        if job.stream and (delta or logprobs):
            events.append(Delta(job.key, choice, delta, logprobs))
            reply.told, reply.begun = len(reply.logprobs), True

    def _logprobs(self, tokens: Sequence[int], odds: Sequence[TokenOdds]) -> list[TokenLogprob]:
        piece = self._bundle.tokenizer.piece
        return [
            TokenLogprob(piece(token), one.logprob, tuple((piece(other), value) for other, value in one.likeliest))
            for token, one in zip(tokens, odds, strict=False)  # none at all where nobody asked for them
            if token != TURN
        ]

    def _conclude(self, jobs: Sequence[_Job], events: list[Event]) -> None:
        """Judge the replies of `jobs`, which are all there, and give the answers."""
        try:
            scores = self._judge(jobs)
        except Exception as error:
            for job in jobs:
                if len(jobs) == 1:
                    self._fail(job, error, events)
                else:  # one of them is to blame: the others must not pay for it
                    self._conclude([job], events)
            return
        for job, judged in zip(jobs, scores, strict=True):
            del self._jobs[job.key]
            events.append(Ended(job.key, _answer(job, judged)))

    def _judge(self, jobs: Sequence[_Job]) -> Sequence[Tensor | None]:
        discriminator = self._bundle.discriminator
        if discriminator is None or not jobs:
            return [None] * len(jobs)
        counts = [len(job.replies) for job in jobs]
        owners = torch.arange(len(jobs)).repeat_interleave(torch.tensor(counts)).to(self._device)
        context = pad([job.context for job in jobs], self._device)
        replies = pad([reply.tokens for job in jobs for reply in job.replies], self._device)
        with torch.inference_mode():
            scores = human_probability(discriminator, context, owners, replies).cpu()
        return list(torch.split(scores, counts))

    def _fail(self, job: _Job, error: Exception, events: list[Event]) -> None:
        self.last_fault = error
        del self._jobs[job.key]
        events.append(Failed(job.key, "broken", name_fault(error)))


def encode_context(tokenizer: Tokenizer, turns: Sequence[str], most: int) -> tuple[list[int], int]:
    """Return the ids of the newest turns that fit into `most` tokens, each ended by TURN, and how many turns that is.

    Oldest turns are dropped whole; of a last turn that alone is too long, the end is kept.
    """
    context: list[int] = []
    used = 0
    for turn in reversed(turns):
        ids = [*tokenizer.encode(clean_turn(turn)), TURN]
        if used and len(context) + len(ids) > most:
            break
        context = ids[-most:] + context
        used += 1
    return context, used


def _answer(job: _Job, scores: Tensor | None) -> Answer:
    judged = [None] * len(job.replies) if scores is None else scores.tolist()
    replies = [
        Reply(
            reply.text.text,
            "stop" if reply.ended else "length",
            len(reply.tokens),
            score,
            None if job.request.logprobs is None else tuple(reply.logprobs),
        )
        for reply, score in zip(job.replies, judged, strict=True)
    ]
    if job.request.best_of is not None and scores is not None:
        replies = [replies[index] for index in best_first(scores).tolist()]
    return Answer(tuple(replies[: job.request.n]), len(job.context), job.turns_used)
