"""History in, reply out: the chatbot as the service, the command line and the evaluation use it."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from chatbot.bundle import Bundle, Limits, bundle_digest, load_bundle, read_config
from chatbot.cleaning import clean_turn
from chatbot.decoding import SEED_LIMIT, Decoding, Lanes, Sampled, derive_seeds, with_limit, write_replies
from chatbot.errors import RejoinderError, RequestError
from chatbot.reranking import best_first, human_probability
from chatbot.tokenizer import PAD, TURN, Tokenizer


@dataclass(frozen=True)
class ReplyRequest:
    """Ask for replies to one history."""

    turns: Sequence[str]
    """Oldest first; speakers alternate; the last one is to be answered."""
    decoding: Decoding = field(default_factory=Decoding)
    seed: int = 0
    n: int = 1
    best_of: int | None = None
    """Candidates drawn, of which the n best by the discriminator are returned, best first; None draws n, unranked."""


@dataclass(frozen=True)
class Reply:
    """One reply, with `tokens` generated (end token counted)."""

    text: str
    finish_reason: str
    """`stop`: it ended by itself; `length`: it was cut at the limit."""
    tokens: int
    score: float | None
    """The discriminator's probability that a human wrote it; None without a discriminator."""


@dataclass(frozen=True)
class Answer:
    """The replies to one request, and how much of the history they saw."""

    replies: tuple[Reply, ...]
    context_tokens: int
    turns_used: int


class Bot:
    """Answer histories with one bundle. Safe to call from several threads: generations run one after another."""

    def __init__(self, bundle: Bundle, name: str, digest: str, config: Mapping[str, object], device: str) -> None:
        self.name = name
        self.digest = digest
        self.config = config
        self.card = bundle.card
        self.limits: Limits = bundle.limits
        self.has_discriminator = bundle.discriminator is not None
        self.device = device
        self._bundle = bundle
        self._lock = threading.Lock()

    @classmethod
    def load(cls, directory: Path, device: str = "auto") -> "Bot":
        """Load the bundle at `directory`; device `auto` is the GPU where there is one. Raises BundleError."""
        device = choose_device(device)
        config = read_config(directory)
        bundle = load_bundle(directory, device)
        return cls(bundle, directory.absolute().name, bundle_digest(directory), config, device)

    def answer(self, requests: Sequence[ReplyRequest]) -> list[Answer]:
        """Answer all requests in one batched generation.

        A reply depends on its own request alone, never on the others in the batch. Raises RequestError before any work
        is done when a request cannot be met.
        """
        for request in requests:
            self.check(request)
        if not requests:
            return []
        with self._lock:
            return self._answer(requests)

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
        with_limit(request.decoding, self.limits.reply_tokens)

    def _answer(self, requests: Sequence[ReplyRequest]) -> list[Answer]:
        bundle, device = self._bundle, torch.device(self.device)
        encoded = [encode_context(bundle.tokenizer, r.turns, self.limits.context_tokens) for r in requests]
        context = pad([ids for ids, _ in encoded], device)
        counts = [r.best_of or r.n for r in requests]
        owners = torch.arange(len(requests)).repeat_interleave(torch.tensor(counts)).to(device)
        decodings = [
            with_limit(r.decoding, self.limits.reply_tokens)
            for r, k in zip(requests, counts, strict=True)
            for _ in range(k)
        ]
        seeds = [seed for r, k in zip(requests, counts, strict=True) for seed in derive_seeds(r.seed, k)]
        with torch.inference_mode():
            state = bundle.generator.encode(context).select(owners)
            lanes = Lanes(decodings, torch.tensor(seeds, device=device), self.limits.reply_tokens)
            sampled = write_replies(bundle.generator, state, lanes)
            scores = None
            if bundle.discriminator is not None:
                scores = human_probability(bundle.discriminator, context, owners, sampled.tokens).cpu()
        replies = self._read(sampled, scores)
        answers = []
        start = 0
        for request, count, (ids, used) in zip(requests, counts, encoded, strict=True):
            order = torch.arange(start, start + count)
            if request.best_of is not None and scores is not None:
                order = order[best_first(scores[order])]
            answers.append(Answer(tuple(replies[i] for i in order[: request.n].tolist()), len(ids), used))
            start += count
        return answers

    def _read(self, sampled: Sampled, scores: Tensor | None) -> list[Reply]:
        tokens, lengths, finished = sampled.tokens.tolist(), sampled.lengths.tolist(), sampled.finished.tolist()
        judged = scores.tolist() if scores is not None else [None] * len(tokens)
        return [
            Reply(clean_turn(self._bundle.tokenizer.decode(ids[:length])), "stop" if ended else "length", length, score)
            for ids, length, ended, score in zip(tokens, lengths, finished, judged, strict=True)
        ]


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


def pad(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Return rows of ids as one tensor [B, longest] (int64), PAD on the right."""
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows], dtype=torch.long, device=device)


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
