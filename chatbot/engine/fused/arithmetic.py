"""What compiled loops do with the numbers of one row, always in the same order: its neighbours cannot change it.

Codes are whole numbers around 128 (uint8): a row's numbers, each divided by the row's peak and times 127. A product of
codes is to be multiplied with the peak again, and then a bias added, before it means anything.
"""

from typing import Any

import numpy as np

from chatbot.engine.fused.compiling import inlined


@inlined
def exponential(x: Any) -> Any:
    """Return e^x for x between -87 and 88, and beyond those what it is there; wrong by 3e-7 + 6e-8 |x| of it."""
    # Written so that what is no number stays so.
    x = np.float32(-87.0) if x < np.float32(-87.0) else x
    x = np.float32(88.0) if x > np.float32(88.0) else x
    scaled = x * np.float32(1.4426950408889634)
    whole = np.floor(scaled + np.float32(0.5))
    rest = scaled - whole
    power = np.float32(1.5353362e-4)
    power = power * rest + np.float32(1.3398874e-3)
    power = power * rest + np.float32(9.6184370e-3)
    power = power * rest + np.float32(5.5503324e-2)
    power = power * rest + np.float32(2.4022648e-1)
    power = power * rest + np.float32(6.9314720e-1)
    power = power * rest + np.float32(1.0)
    return power * np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)


@inlined
def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + e^-x)."""
    return np.float32(1.0) / (np.float32(1.0) + exponential(-x))


@inlined
def hyperbolic_tangent(x: Any) -> Any:
    """Return tanh(x); near 0 to 1e-7."""
    return np.float32(1.0) - np.float32(2.0) / (exponential(np.float32(2.0) * x) + np.float32(1.0))


@inlined
def gelu(x: Any) -> Any:
    """Return x times the normal distribution's share below x; the error function by Abramowitz and Stegun 7.1.26."""
    z = abs(x) * np.float32(0.7071067811865476)
    t = np.float32(1.0) / (np.float32(1.0) + np.float32(0.3275911) * z)
    series = np.float32(1.061405429)
    series = series * t + np.float32(-1.453152027)
    series = series * t + np.float32(1.421413741)
    series = series * t + np.float32(-0.284496736)
    series = series * t + np.float32(0.254829592)
    tail = np.float32(0.5) * series * t * exponential(-z * z)  # the share beyond |x|
    return x * (tail if x < np.float32(0.0) else np.float32(1.0) - tail)


@inlined
def encode(row: Any, codes: Any, at: Any, count: Any) -> Any:
    """Write the codes of `count` numbers and return their peak."""
    peak = np.int32(0)
    for i in range(count):  # as whole numbers: these have an order that a register can find the greatest of
        bits = np.int32(np.float32(row[i]).view(np.int32) & np.int32(0x7FFFFFFF))
        peak = bits if bits > peak else peak
    greatest = np.int32(peak).view(np.float32)
    greatest = np.float32(1e-12) if greatest < np.float32(1e-12) else greatest
    scale = np.float32(127.0) / greatest
    for i in range(count):
        codes[at + i] = np.uint8(np.int32(np.rint(row[i] * scale)) + np.int32(128))
    return greatest


@inlined
def normalise(row: Any, out: Any, gain: Any, shift: Any, width: Any, least: Any) -> None:
    """Write `row` with mean 0 and variance 1, times gain plus shift (Ba et al. 2016)."""
    total = np.float32(0.0)
    for i in range(width):
        total += row[i]
    mean = total / np.float32(width)
    squares = np.float32(0.0)
    for i in range(width):
        distance = row[i] - mean
        squares += distance * distance
    scale = np.float32(1.0) / np.sqrt(squares / np.float32(width) + np.float32(least))
    for i in range(width):
        out[i] = (row[i] - mean) * scale * gain[i] + shift[i]
