"""SeqGAN's synthetic experiment, every system on the same sequences: what each seed runs, kept so that a cut-off run
goes on. The numbers' meaning is `frontier`'s business, their table `oracle_report`'s.
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from chatbot.whole_file import whole_file
from training.errors import ConfigError, RunError
from training.precision import Precision, choose_precision
from training.run import write_atomically
from training.synthetic.cnn import ConvolutionalDiscriminator
from training.synthetic.likelihood import PAPER, LikelihoodSettings, maximum_likelihood
from training.synthetic.lstm import SequenceModel, sequence_nll
from training.synthetic.published import PublishedSeqGAN, Schedule
from training.synthetic.recipe import DensityRatioGAN, RecipeSettings

System = Literal["mle", "mle_tuned", "seqgan", "placebo", "placebo_tuned", "judge", "best"]
SYSTEMS: tuple[System, ...] = ("mle", "mle_tuned", "seqgan", "placebo", "placebo_tuned", "judge", "best")
NEEDS: Mapping[System, tuple[System, ...]] = {
    "seqgan": ("mle",),
    "placebo": ("mle",),
    "placebo_tuned": ("mle_tuned",),
    "best": ("mle_tuned", "judge"),
}
TEMPERATURES = (1.1, 1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)

Say = Callable[[str], None]


@dataclass(frozen=True)
class OracleOptions:
    """Hold all that decides the numbers, seeds apart."""

    sequences: int = 10_000
    """Training sequences drawn from the oracle; a fifth as many others are there to choose by."""
    measured: int = 10_000
    """Sequences of both kinds that every point of a curve is measured on."""
    size: int = 32
    mle: LikelihoodSettings = PAPER
    tuned: LikelihoodSettings = field(
        default_factory=lambda: LikelihoodSettings(
            epochs=16, decay=True, weight_decay=0.15, dropout=0.2, early_stopping=True
        )
    )
    judge: LikelihoodSettings = field(
        default_factory=lambda: LikelihoodSettings(
            epochs=16, decay=True, weight_decay=0.2, dropout=0.4, early_stopping=True
        )
    )
    judge_size: int = 64
    seqgan: Schedule = field(default_factory=lambda: Schedule(rounds=30))
    placebo: Schedule = field(default_factory=lambda: Schedule(rounds=100))
    best: RecipeSettings = field(default_factory=RecipeSettings)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of SeqGAN's discriminator; everything else is fp32."""

    def digest(self) -> str:
        """Return what tells these options from others."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass
class SeedRun:
    """One seed: its sequences, and the systems trained on them."""

    oracle: SequenceModel
    options: OracleOptions
    seed: int
    parts: Path
    say: Say
    precision: Precision
    train: Tensor = field(init=False)
    choosing: Tensor = field(init=False)
    held_out: Tensor = field(init=False)
    _started: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        """Draw the sequences; the oracle's random stream is the seed's own."""
        rng = torch.Generator().manual_seed(1_000_003 * (self.seed + 1))
        counts = self.options.sequences, self.options.sequences // 5, self.options.measured
        self.train, self.choosing, self.held_out = (self.oracle.draw(count, rng) for count in counts)

    def run(self, system: System) -> dict[str, Any]:
        """Return the part of `system`: its curves and seconds; read from disk where an earlier run finished it."""
        file = self.parts / f"seed{self.seed}-{system}.json"
        if file.is_file():
            done: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return done
        for needed in NEEDS.get(system, ()):
            self.run(needed)
        self._started = time.monotonic()
        # A system's stream does not depend on which others were run before it.
        rng = torch.Generator().manual_seed(7919 * (self.seed + 1) + SYSTEMS.index(system))
        torch.manual_seed(7919 * (self.seed + 1) + SYSTEMS.index(system))  # dropout has no generator of its own
        part, model = self._train(system, rng)
        part |= {"system": system, "seed": self.seed, "seconds": time.monotonic() - self._started}
        save_file(model.state_dict(), self._weights(system))
        write_atomically(file, json.dumps(part).encode())
        return part

    def _train(self, system: System, rng: torch.Generator) -> tuple[dict[str, Any], SequenceModel]:
        options = self.options
        if system in ("mle", "mle_tuned", "judge"):
            settings = {"mle": options.mle, "mle_tuned": options.tuned, "judge": options.judge}[system]
            model = self._model(options.judge_size if system == "judge" else options.size, settings.dropout)
            model.initialise(0.1, rng)
            curve: list[dict[str, Any]] = []
            every = max(1, settings.epochs // 12)

            def watch(epoch: int, model: SequenceModel) -> None:
                if epoch % every == 0 or epoch == settings.epochs:
                    curve.append(self._point(model, rng, epoch=epoch))

            maximum_likelihood(model, self.train, self.choosing, settings, rng, watch)
            return {"curve": curve, "temperatures": self._temperatures(model, rng)}, model
        start: System = "mle" if system in ("seqgan", "placebo") else "mle_tuned"
        model = self._model(options.size, 0.0)
        model.load_state_dict(load_file(self._weights(start)))
        curve = []

        def look(number: int, model: SequenceModel, metrics: dict[str, float]) -> None:
            if number >= 0:
                curve.append(self._point(model, rng, round=number, **metrics))
            else:
                self.say(f"seed {self.seed}, {system}: {number} {metrics}")

        if system == "best":
            phi = self._model(options.judge_size, options.judge.dropout)
            phi.load_state_dict(load_file(self._weights("judge")))
            DensityRatioGAN(model, phi, self.train, self.choosing, options.best, rng).run(look)
        else:
            judge = None
            if system == "seqgan":
                judge = ConvolutionalDiscriminator(self.oracle.vocabulary, self.oracle.length)
            schedule = options.seqgan if judge is not None else options.placebo
            game = PublishedSeqGAN(model, judge, self.train, self.choosing, schedule, self.precision, rng)
            # SeqGAN takes hours; the others are done again when they were cut off.
            file = self.parts / f"seed{self.seed}-{system}.state"
            if file.is_file():
                kept = torch.load(file, weights_only=True)
                game.load_state_dict(kept["game"])
                curve += kept["curve"]
                self._started -= kept["seconds"]
                self.say(f"seed {self.seed}, {system}: goes on from {game.number}")

            def keep() -> None:
                seconds = time.monotonic() - self._started
                with whole_file(file) as out:
                    torch.save({"game": game.state_dict(), "curve": curve, "seconds": seconds}, out)

            game.run(look, keep if judge is not None else lambda: None)
            file.unlink(missing_ok=True)
        return {"curve": curve, "temperatures": self._temperatures(model, rng)}, model

    def _model(self, size: int, dropout: float) -> SequenceModel:
        return SequenceModel(self.oracle.vocabulary, self.oracle.length, size, size, dropout)

    def _weights(self, system: System) -> Path:
        return self.parts / f"seed{self.seed}-{system}.safetensors"

    def _temperatures(self, model: SequenceModel, rng: torch.Generator) -> list[dict[str, Any]]:
        return [self._point(model, rng, temperature=temperature) for temperature in TEMPERATURES]

    def _point(self, model: SequenceModel, rng: torch.Generator, **setting: float) -> dict[str, Any]:
        temperature = setting.get("temperature", 1.0)
        generated = model.draw(len(self.held_out), rng, temperature)
        point = {
            **setting,
            "nll_gen": float(sequence_nll(model, self.held_out, temperature).mean()),
            "nll_oracle": float(sequence_nll(self.oracle, generated).mean()),
        }
        shown = ", ".join(f"{name} {value:.4g}" for name, value in point.items())
        self.say(f"seed {self.seed}: {shown}")
        return point


def run_oracle(
    oracle: SequenceModel,
    about: Mapping[str, Any],
    options: OracleOptions,
    seeds: Sequence[int],
    systems: Sequence[str],
    parts: Path,
    say: Say,
) -> dict[str, Any]:
    """Run `systems` for every seed, what is in the directory `parts` already left out, and return all parts there.

    `about` says which oracle it is. Raises ConfigError for an unknown system, RunError when `parts` belongs to another
    oracle or other options.
    """
    for name in systems:
        if name not in SYSTEMS:
            raise ConfigError(f"unknown system {name!r}, expected some of {', '.join(SYSTEMS)}")
    parts.mkdir(parents=True, exist_ok=True)
    identity = {"oracle": dict(about), "options": options.digest()}
    marker = parts / "experiment.json"
    if marker.is_file() and (found := json.loads(marker.read_text(encoding="utf-8"))) != identity:
        raise RunError(f"{parts} holds another experiment ({found}), expected {identity}; choose another --out")
    marker.write_text(json.dumps(identity), encoding="utf-8")
    precision = choose_precision(options.precision, torch.device("cpu"))
    for seed in seeds:
        run = SeedRun(oracle, options, seed, parts, say, precision)
        for system in SYSTEMS:
            if system in systems:
                say(f"seed {seed}: {system}")
                run.run(system)
    found_parts = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(parts.glob("seed*-*.json"))]
    return {"about": dict(about), "options": dataclasses.asdict(options), "precision": precision, "parts": found_parts}
