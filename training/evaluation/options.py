"""What can be chosen about an evaluation, with the protocol's own choices as defaults."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.errors import ConfigError
from training.evaluation.sampling import Setting

PLAIN: Final = Setting()
"""Temperature 1, nothing cut off: what a generator has learnt, and where all systems are tabled."""


@dataclass(frozen=True)
class EvaluationOptions:
    """Say how much is measured. Raises ConfigError when a value cannot be used."""

    contexts: int = 1000
    """Test contexts that every system answers."""
    training_contexts: int = 1000
    """Contexts of the validation part whose replies fresh evaluators learn from."""
    best_of: int = 8
    """Candidates of the reranked twins; 1: no such systems."""
    baseline: str | None = None
    """The system that all others are compared with; None: the first one named."""
    references: Path | None = None
    """JSONL of contexts with several right replies."""
    feedback: tuple[Path, ...] = ()
    """Exported preferences that each system's D is asked about."""
    human: tuple[Path, ...] = ()
    """Results of studies, to stand beside the measures."""
    seed: int = 0
    draws: int = 1000
    """Of the intervals."""
    temperatures: tuple[float, ...] = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
    top_ps: tuple[float, ...] = (0.8, 0.9, 0.95)
    """At temperature 1."""
    second_temperature: float = 0.7
    """Where the slow evaluator judges, too: the service's default."""
    twin_temperatures: tuple[float, ...] = (0.5, 0.7, 0.9, 1.0, 1.2)
    """Of the sweep's, those at which reranked twins are drawn, too: each of their replies costs `best_of`."""
    full: bool = False
    """The slow evaluator judges the whole sweep, and reranked twins are drawn at all settings."""
    samples: int = 12
    """Contexts shown with the replies of all systems."""
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, least in (
            ("contexts", 4), ("training_contexts", 4), ("best_of", 1), ("seed", 0), ("draws", 10), ("samples", 0)
        ):  # fmt: skip
            value = getattr(self, name)
            if not least <= value < 2**31:
                raise ConfigError(f"{name.replace('_', ' ')} is {value}, expected {least} or more")
        if PLAIN.temperature not in self.temperatures:
            raise ConfigError("temperature 1 is missing from the sweep: it is where the table is measured")

    @property
    def by_temperature(self) -> tuple[Setting, ...]:
        """Return the settings of the curves."""
        return tuple(Setting(temperature=t) for t in sorted(set(self.temperatures)))

    def settings(self, best_of: int) -> tuple[Setting, ...]:
        """Return the settings at which a system that picks from `best_of` candidates is drawn."""
        if best_of > 1 and not self.full:
            kept = {PLAIN.temperature, *self.twin_temperatures}
            return tuple(setting for setting in self.by_temperature if setting.temperature in kept)
        return self.by_temperature + tuple(Setting(top_p=p) for p in sorted(set(self.top_ps)))

    def judged_slowly(self, setting: Setting) -> bool:
        """Say whether the slow evaluator judges this setting."""
        return self.full or setting in (PLAIN, Setting(temperature=self.second_temperature))
