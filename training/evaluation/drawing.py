"""The replies of every system, training seed and setting: the first and longest part of an evaluation.

Knows systems and held-out contexts; measures nothing but the likelihood of the human replies, while the weights are
loaded. Systems that share a bundle share its weights and encoded contexts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from chatbot.bot import encode_context
from chatbot.bundle import Limits, read_config
from chatbot.tokenizer import Tokenizer
from training.evaluation.cache import Cache
from training.evaluation.heldout import HeldOut
from training.evaluation.options import PLAIN, EvaluationOptions
from training.evaluation.sampling import Sampler, Setting
from training.evaluation.systems import System
from training.precision import Precision

Progress = Callable[[str, int, int | None], None]
"""Told the stage, what is done and how much there is (None: not known)."""


@dataclass(frozen=True, order=True)
class Cell:
    """One training seed of a system at one setting."""

    system: str
    seed: int
    setting: Setting


@dataclass(frozen=True)
class Replies:
    """What a cell replied to the contexts of the validation part, from which evaluators learn, and of the test part."""

    valid: list[str]
    test: list[str]


@dataclass(frozen=True)
class Likelihood:
    """What a bundle makes of the C human test replies: natural log-probability and tokens of each, both [C]."""

    log_probability: NDArray[np.float64]
    tokens: NDArray[np.int64]


@dataclass
class Drawn:
    """All replies of an evaluation."""

    replies: dict[Cell, Replies] = field(default_factory=dict)
    likelihoods: dict[tuple[str, int], Likelihood] = field(default_factory=dict)
    """By system and training seed; a reranked system's distribution has no closed form, so it has none."""
    referenced: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    """Replies at temperature 1 to the contexts with several references, by system and training seed."""


@dataclass(frozen=True)
class Drawer:
    """Draw for all systems."""

    options: EvaluationOptions
    cache: Cache
    precision: Precision
    device: torch.device
    tokenizer: Tokenizer
    progress: Progress

    def draw(
        self, systems: Sequence[System], valid: HeldOut, test: HeldOut, referenced: Sequence[Sequence[str]]
    ) -> Drawn:
        """Return the replies of `systems` to both parts at all settings, and to contexts with several references."""
        drawn = Drawn()
        counter = _Counter(self.progress, self._amount(systems, len(valid), len(test), len(referenced)))
        by_bundle: dict[Path, list[tuple[System, int]]] = {}
        for system in systems:
            for seed, bundle in enumerate(system.bundles):
                by_bundle.setdefault(bundle, []).append((system, seed))
        for bundle, entries in by_bundle.items():
            sampler = Sampler(bundle, self.cache, self.precision, self.device)
            limits = Limits(**read_config(bundle)["limits"])
            tests = test.context_ids(limits.context_tokens)
            others = [encode_context(self.tokenizer, turns, limits.context_tokens)[0] for turns in referenced]
            drafts: dict[Cell, list[str]] = {}
            cells = [
                (Cell(system.name, seed, setting), system.best_of)
                for system, seed in entries
                for setting in self.options.settings(system.best_of)
            ]
            # One part after the other for all settings: the sampler keeps one set of encoded contexts.
            for cell, best_of in cells:
                drafts[cell] = sampler.draw(tests, cell.setting, best_of, self.options.seed, counter.add)
            for system, seed in entries:
                if system.best_of == 1:
                    scored = sampler.log_likelihood(tests, _human_ids(test, limits.reply_tokens))
                    drawn.likelihoods[system.name, seed] = Likelihood(*scored)
            learning = valid.context_ids(limits.context_tokens)
            for cell, best_of in cells:
                replies = sampler.draw(learning, cell.setting, best_of, self.options.seed, counter.add)
                drawn.replies[cell] = Replies(replies, drafts[cell])
            for system, seed in entries if others else ():
                drawn.referenced[system.name, seed] = sampler.draw(
                    others, PLAIN, system.best_of, self.options.seed, counter.add
                )
        return drawn

    def _amount(self, systems: Sequence[System], valid: int, test: int, referenced: int) -> int:
        return sum(
            len(system.bundles) * (len(self.options.settings(system.best_of)) * (valid + test) + referenced)
            for system in systems
        )


class _Counter:
    """Turn the progress of one draw after another into that of all."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._before = progress, total, 0
        progress("drawing replies", 0, total)

    def add(self, done: int, total: int) -> None:
        self._progress("drawing replies", self._before + done, self._total)
        if done == total:
            self._before += total


def _human_ids(held: HeldOut, limit: int) -> list[list[int]]:
    return [held.split.reply(int(i))[:limit].tolist() for i in held.chosen]
