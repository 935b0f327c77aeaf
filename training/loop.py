"""The loop: when to step, evaluate, log, save and roll back. Knows nothing of losses, models or text."""

import math
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from training import ranks
from training.errors import RunError


class Objective(Protocol):
    """What a stage repeats."""

    def step(self, progress: float) -> dict[str, float]:
        """Take one step; `progress` through the stage goes from 0 to 1."""


@dataclass(frozen=True)
class Verdict:
    """What an evaluation found."""

    metrics: dict[str, float]
    alarms: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Cadence:
    """Say how long a stage is and how often it stops to look."""

    steps: int
    minutes: float
    evaluate_every: int
    save_every: int
    """Steps between saves beside those after every evaluation; a state saved so counts as healthy."""


@dataclass
class Progress:
    """Where a stage stands; part of the run state."""

    step: int = 0
    seconds: float = 0.0
    rollbacks: int = 0
    good_step: int = 0
    """The step of the last healthy evaluation."""
    best: float = math.inf
    """The lowest validation loss so far."""
    finished: bool = False
    collapse: str = ""
    """Why the stage was given up, if it was; resuming it says so again."""


class CollapseError(RunError):
    """The generator broke the safeguards' rules again and again."""


class Watch(Protocol):
    """What the loop calls, given by whoever knows models and files."""

    def evaluate(self, step: int) -> Verdict:
        """Measure the models; keep a bundle when they are healthy."""

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Write one line of metrics."""

    def save(self) -> None:
        """Write the run state."""

    def snapshot(self) -> Any:
        """Return a copy of all that `restore` goes back to."""

    def restore(self, snapshot: Any) -> None:
        """Go back to `snapshot` and continue more carefully."""

    def event(self, text: str) -> None:
        """Tell the user."""

    def tick(self, share: float, metrics: dict[str, float]) -> None:
        """Tell the user how far the stage is."""


def run_stage(objective: Objective, cadence: Cadence, progress: Progress, watch: Watch, rollbacks: int) -> None:
    """Repeat `objective.step` to the end of the stage.

    After an evaluation with alarms the last healthy snapshot is restored; after `rollbacks` of them the stage ends
    with CollapseError. A loss or measure that is not finite counts as an alarm.
    """
    if progress.collapse:
        raise CollapseError(progress.collapse)
    clock = time.monotonic() - progress.seconds
    good = watch.snapshot()
    gathered: list[dict[str, float]] = []
    while not progress.finished:
        share = _share(progress, cadence, time.monotonic() - clock)
        metrics = ranks.mean(objective.step(share))
        gathered.append(metrics)
        progress.step += 1
        progress.seconds = time.monotonic() - clock
        share = _share(progress, cadence, progress.seconds)
        watch.tick(share, metrics)
        broken = _not_finite(metrics)
        progress.finished = share >= 1 and not broken
        if broken or progress.finished or progress.step % cadence.evaluate_every == 0:
            verdict = Verdict({}, broken) if broken else ranks.first(watch.evaluate(progress.step))
            speed = {"steps_per_second": progress.step / max(progress.seconds, 1e-9)}
            watch.log(progress.step, {**_mean(gathered), **speed, **verdict.metrics})
            gathered = []
            if alarms := verdict.alarms or _not_finite(verdict.metrics):
                progress.finished = False
                _roll_back(alarms, progress, watch, good, rollbacks)
            else:
                progress.good_step = progress.step
            good = watch.snapshot()  # what is saved is also what a rollback goes to: a resumed run does the same
            watch.save()
        elif progress.step % cadence.save_every == 0:
            watch.log(progress.step, _mean(gathered))
            gathered = []
            good = watch.snapshot()
            watch.save()


def _roll_back(alarms: list[str], progress: Progress, watch: Watch, good: Any, rollbacks: int) -> None:
    progress.rollbacks += 1
    watch.event(f"step {progress.step}: {'; '.join(alarms)}: back to step {progress.good_step}")
    watch.restore(good)
    if progress.rollbacks >= rollbacks:
        progress.finished = True
        progress.collapse = f"training collapsed {progress.rollbacks} times (last: {'; '.join(alarms)})"
        watch.save()
        raise CollapseError(progress.collapse)


def _not_finite(metrics: dict[str, float]) -> list[str]:
    return [f"{name} is {value}" for name, value in metrics.items() if not math.isfinite(value)]


def _share(progress: Progress, cadence: Cadence, seconds: float) -> float:
    by_time = seconds / (60 * cadence.minutes) if cadence.minutes else 0.0
    # Clocks differ: all ranks go by that of the first.
    return float(min(1.0, max(progress.step / cadence.steps, ranks.first(by_time) if cadence.minutes else 0.0)))


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each measure over the rows that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: sum(values) / len(values) for name in names if (values := [r[name] for r in rows if name in r])}
