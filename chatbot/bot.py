"""History in, reply out: the chatbot as the service, the command line and the evaluation use it."""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from chatbot.answering import Answering
from chatbot.answering import encode_context as encode_context
from chatbot.bundle import Bundle, Limits, bundle_digest, load_bundle, read_config
from chatbot.cleaning import clean_turn
from chatbot.engine.engine import Engine
from chatbot.engine.engine import pad as pad
from chatbot.engine.precision import choose_precision
from chatbot.errors import RejoinderError, RequestError
from chatbot.messages import Ended, Event, Failed
from chatbot.request import MOST_LOGPROBS, MOST_STOPS, SEED_LIMIT, with_limit
from chatbot.request import Answer as Answer
from chatbot.request import Reply as Reply
from chatbot.request import ReplyRequest as ReplyRequest

LANES = 64
"""Replies written side by side."""


class Bot:
    """Answer histories with one bundle.

    `answer` is safe to call from several threads, one after another; who uses `begin` and `step` instead is alone.
    """

    def __init__(
        self,
        bundle: Bundle,
        name: str,
        digest: str,
        config: Mapping[str, object],
        device: str,
        lanes: int = LANES,
        precision: str = "fp32",
    ) -> None:
        self.name = name
        self.digest = digest
        self.config = config
        self.card = bundle.card
        self.limits: Limits = bundle.limits
        self.decoding = bundle.decoding
        self.has_discriminator = bundle.discriminator is not None
        self.device = device
        self._generator, self.precision = choose_precision(
            bundle.generator, bundle.limits.context_tokens, device, precision
        )
        self._bundle = bundle
        self._lanes = lanes
        self._answering: Answering | None = None
        self._lock = threading.Lock()

    @classmethod
    def load(cls, directory: Path, device: str = "auto", lanes: int = LANES, precision: str = "fp32") -> "Bot":
        """Load the bundle at `directory`; device `auto` is the GPU where there is one.

        Precision `auto` is the fastest that stays close to fp32: a seed gives the same replies where digest and
        precision are the same. Raises BundleError, or RejoinderError for a device or precision that is not here.
        """
        device = choose_device(device)
        config = read_config(directory)
        bundle = load_bundle(directory, device)
        return cls(bundle, directory.absolute().name, bundle_digest(directory), config, device, lanes, precision)

    def answer(self, requests: Sequence[ReplyRequest]) -> list[Answer]:
        """Answer all requests, written side by side.

        A reply depends on its own request alone, never on the others. Raises RequestError before any work is done when
        a request cannot be met.
        """
        for request in requests:
            self.check(request)
        answers = dict(self.answer_each(requests))
        return [answers[index] for index in range(len(requests))]

    def answer_each(self, requests: Iterable[ReplyRequest]) -> Iterator[tuple[int, Answer]]:
        """Yield each request's number and its answer as soon as it is there; requests are read as lanes become free.

        Raises RequestError at a request that cannot be met, and what the model raises.
        """
        coming = enumerate(requests)
        held: set[int] = set()
        exhausted = False
        with self._lock:
            try:
                while held or not exhausted:
                    # Twice the lanes: there is always somebody to take the place of one who is done.
                    while not exhausted and len(held) < 2 * self._lanes:
                        index, request = next(coming, (-1, None))
                        exhausted = request is None
                        if request is not None:
                            self.begin(index, request)
                            held.add(index)
                    for event in self.step():
                        if isinstance(event, Failed):
                            raise RuntimeError(event.message) from self._worker.last_fault
                        if isinstance(event, Ended):
                            held.discard(event.key)
                            yield event.key, event.answer
            finally:
                for index in held:
                    self.cancel(index)

    def begin(self, key: int, request: ReplyRequest, *, stream: bool = False) -> None:
        """Let a request be answered by the coming steps; with `stream` its text is told as it comes.

        A ranked reply is known only when all candidates are there: it comes in one piece. Raises RequestError.
        """
        self.check(request)
        self._worker.begin(key, request, stream=stream)

    def cancel(self, key: int) -> None:
        """Give up the request `key`, if it is still in work; its lanes are free at once."""
        self._worker.cancel(key)

    @property
    def busy(self) -> bool:
        """Return whether a step would do anything."""
        return self._answering is not None and self._answering.busy

    def step(self) -> list[Event]:
        """Write one token of every reply in work, and say what came of it. A request that fails hurts no other."""
        return self._worker.step()

    @property
    def last_fault(self) -> Exception | None:
        """Return why a request failed last."""
        return self._worker.last_fault

    def check(self, request: ReplyRequest) -> None:
        """Raise RequestError when `request` cannot be met by this bot."""
        if isinstance(request.turns, str):
            raise RequestError("turns is one text, expected a list of them", "turns")
        if not request.turns:
            raise RequestError("no turns, expected at least the one to be answered", "turns")
        for index, turn in enumerate(request.turns):
            if not turn.isascii() and any("\ud800" <= character <= "\udfff" for character in turn):
                raise RequestError(f"turn {index} holds half of a surrogate pair, which is no text", "turns")
            if not clean_turn(turn):
                raise RequestError(f"turn {index} is empty", "turns")
        if not 0 <= request.seed < SEED_LIMIT:
            raise RequestError(f"seed is {request.seed}, expected 0 to 2**63 - 1", "seed")
        if request.n < 1:
            raise RequestError(f"n is {request.n}, expected at least 1", "n")
        if request.best_of is not None:
            if request.best_of < request.n:
                raise RequestError(f"best_of is {request.best_of}, expected at least n, {request.n}", "best_of")
            if not self.has_discriminator:
                raise RequestError(f"{self.name} has no discriminator to rank candidates by", "best_of")
        if len(request.stop) > MOST_STOPS or not all(request.stop):
            raise RequestError(f"stop is {list(request.stop)}, expected at most {MOST_STOPS} texts, none empty", "stop")
        if request.logprobs is not None and not 0 <= request.logprobs <= MOST_LOGPROBS:
            raise RequestError(f"logprobs is {request.logprobs}, expected 0 to {MOST_LOGPROBS}", "top_logprobs")
        with_limit(request.decoding, self.limits.reply_tokens)

    @property
    def _worker(self) -> Answering:
        if self._answering is None:  # made when first needed: who only reads the card needs no lanes
            engine = Engine(self._generator, self.limits.context_tokens, self._lanes, self.device)
            self._answering = Answering(self._bundle, engine, self.device)
        return self._answering


def choose_device(device: str) -> str:
    """Return `device`, with `auto` decided: the GPU where there is one.

    Raises RejoinderError for a device that is not here.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if device in ("cpu", *gpus) or (gpus and device == "cuda"):
        return device
    raise RejoinderError(f"device {device!r} is not available here, expected auto, cpu or (with a GPU) cuda or cuda:N")
