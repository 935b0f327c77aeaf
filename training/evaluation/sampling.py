"""Replies of a bundle to many contexts at one setting, the same random numbers for every system.

Knows bundles and token ids of contexts; refuses to know which systems, settings and contexts an evaluation wants. What
was drawn is kept on disk, so an interrupted evaluation goes on where it stopped.
C contexts, n candidates for each.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chatbot.bot import pad
from chatbot.bundle import Bundle, bundle_digest, load_bundle
from chatbot.cleaning import clean_turn
from chatbot.decoding import Decoding, Lanes, derive_seeds, write_replies
from chatbot.errors import BundleError
from chatbot.generator.interface import State
from chatbot.reranking import human_probability
from training.evaluation.cache import Cache, fingerprint
from training.losses import reply_mask, token_log_probabilities
from training.precision import Precision, autocast

Progress = Callable[[int, int], None]
"""Told how many contexts are done, of how many."""

ENCODED: Final = 256
"""Contexts encoded together."""
LANES: Final = 512
"""Replies written together."""
_STREAMS: Final = 2**32
"""Seeds of one evaluation seed: more than contexts anybody evaluates."""


@dataclass(frozen=True, order=True)
class Setting:
    """How replies are drawn: one point of the sweep. Everything else is the service's default."""

    temperature: float = 1.0
    top_p: float = 1.0

    @property
    def decoding(self) -> Decoding:
        """Return it as the generator takes it."""
        return Decoding(temperature=self.temperature, top_p=self.top_p)

    def __str__(self) -> str:
        return f"temperature {self.temperature:g}" + (f", top-p {self.top_p:g}" if self.top_p < 1 else "")


class Sampler:
    """Draw replies with the bundle at `directory`, which is loaded when something is not on disk yet."""

    def __init__(self, directory: Path, cache: Cache, precision: Precision, device: torch.device) -> None:
        self.digest = bundle_digest(directory)
        self._directory, self._cache = directory, cache
        self._precision, self._device = precision, device
        self._loaded: Bundle | None = None
        self._encoded: tuple[str, list[tuple[Tensor, State]]] = ("", [])

    @property
    def bundle(self) -> Bundle:
        """Return the loaded bundle. Raises BundleError as `load_bundle` does."""
        if self._loaded is None:
            self._loaded = load_bundle(self._directory, self._device)
        return self._loaded

    def draw(
        self, contexts: Sequence[Sequence[int]], setting: Setting, best_of: int, seed: int, progress: Progress
    ) -> list[str]:
        """Return one reply as text to each of C contexts (token ids), cleaned as the service cleans it.

        With `best_of` > 1 that many candidates are drawn and the discriminator's favourite is returned; the first
        candidate is the reply of `best_of` 1. Raises BundleError when there is no discriminator to choose.
        """
        key = {
            "bundle": self.digest, "contexts": fingerprint(contexts), "decoding": asdict(setting.decoding),
            "best_of": best_of, "seed": seed, "precision": self._precision,
        }  # fmt: skip
        replies: list[str] = self._cache.get(
            "draws", key, lambda: self._draw(contexts, setting, best_of, seed, progress)
        )
        progress(len(contexts), len(contexts))
        return replies

    def log_likelihood(
        self, contexts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the natural log-probability of each reply (ids, its end token too) and its tokens: both [C]."""
        key = {
            "bundle": self.digest, "contexts": fingerprint(contexts), "replies": fingerprint(replies),
            "precision": self._precision,
        }  # fmt: skip
        scores: list[float] = self._cache.get("likelihoods", key, lambda: self._score(contexts, replies))
        return np.array(scores), np.array([len(reply) for reply in replies])

    @torch.inference_mode()
    def _draw(
        self, contexts: Sequence[Sequence[int]], setting: Setting, best_of: int, seed: int, progress: Progress
    ) -> list[str]:
        bundle = self.bundle
        if best_of > 1 and bundle.discriminator is None:
            raise BundleError(f"{self._directory}: best of {best_of} needs a discriminator, and it has none")
        replies: list[str] = []
        with autocast(self._precision, self._device):
            for context, state in self._encode(contexts):
                step = max(1, LANES // best_of)
                for begin in range(0, len(context), step):
                    progress(len(replies), len(contexts))
                    rows = torch.arange(begin, min(begin + step, len(context)), device=self._device)
                    first = seed * _STREAMS + len(replies)
                    tokens = self._write(context[rows], state, rows, setting, best_of, first)
                    replies.extend(clean_turn(bundle.tokenizer.decode(ids)) for ids in tokens.tolist())
        return replies

    def _write(self, context: Tensor, state: State, rows: Tensor, setting: Setting, best_of: int, seed: int) -> Tensor:
        """Return the replies [rows, T] to `context` [rows, S], which are the lanes `rows` of `state`."""
        bundle = self.bundle
        seeds = [s for i in range(len(rows)) for s in derive_seeds(seed + i, best_of)]
        lanes = Lanes(
            [setting.decoding] * len(seeds), torch.tensor(seeds, device=self._device), bundle.limits.reply_tokens
        )
        sampled = write_replies(bundle.generator, state.select(rows.repeat_interleave(best_of)), lanes)
        if best_of == 1 or bundle.discriminator is None:
            return sampled.tokens
        owners = torch.arange(len(rows), device=self._device)
        asked = owners.repeat_interleave(best_of)
        scores = human_probability(bundle.discriminator, context, asked, sampled.tokens).view(len(rows), best_of)
        return sampled.tokens.view(len(rows), best_of, -1)[owners, scores.argmax(1)]

    def _encode(self, contexts: Sequence[Sequence[int]]) -> list[tuple[Tensor, State]]:
        """Encode contexts once for all settings; only the newest ones are remembered."""
        name = fingerprint(contexts)
        if self._encoded[0] != name:
            chunks = [pad(contexts[i : i + ENCODED], self._device) for i in range(0, len(contexts), ENCODED)]
            self._encoded = name, [(chunk, self.bundle.generator.encode(chunk)) for chunk in chunks]
        return self._encoded[1]

    @torch.inference_mode()
    def _score(self, contexts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]]) -> list[float]:
        scores: list[float] = []
        generator, step = self.bundle.generator, ENCODED // 4
        for begin in range(0, len(contexts), step):
            context = pad(contexts[begin : begin + step], self._device)
            reply = pad(replies[begin : begin + step], self._device)
            with autocast(self._precision, self._device):
                logs = token_log_probabilities(generator, generator.encode(context), reply)
            scores.extend((logs.double() * reply_mask(reply)).sum(1).tolist())
        if not all(math.isfinite(score) for score in scores):
            raise BundleError(f"{self._directory}: gives human replies a probability that is not finite")
        return scores
