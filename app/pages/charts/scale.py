"""Where a value stands on an axis, and which round numbers are written beside it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`, both inclusive; `step` apart stand its ticks."""

    low: float
    high: float
    step: float

    @classmethod
    def around(cls, values: Iterable[float], ticks: int = 5) -> Self:
        """Return a scale that holds all `values`, with about `ticks` ticks at round numbers.

        Raises ValueError when there is no value or one is not finite.
        """
        found = list(values)
        if not found or not all(math.isfinite(value) for value in found):
            raise ValueError("a scale needs finite values")
        low, high = min(found), max(found)
        if high - low < 1e-9 * max(1.0, abs(low)):
            wide = max(abs(low) * 0.1, 0.5)
            low, high = low - wide, high + wide
        rough = (high - low) / max(1, ticks - 1)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
        return cls(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, step)

    @property
    def ticks(self) -> list[float]:
        """Return the values at which ticks stand."""
        count = round((self.high - self.low) / self.step)
        return [self.low + number * self.step for number in range(count + 1)]

    def percent(self, value: float) -> float:
        """Return where `value` stands, in per cent of the axis's length, two decimals."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    def label(self, value: float) -> str:
        """Return `value` as it is written at its tick."""
        decimals = max(0, -math.floor(math.log10(self.step) + 1e-9))
        if abs(value) >= 10_000 and decimals == 0:
            return f"{value / 1000:g}k"
        text = f"{value:.{decimals}f}"
        return text.removeprefix("-") if float(text) == 0 else text
