"""What happens between the products of a step, each in one pass over its rows while they are in the cache.

Arguments are addresses of memory without gaps, unless strides say otherwise. R rows, D width, N inputs and K outputs of
a product.
"""

from typing import Any

import numpy as np

from chatbot.engine.fused.arithmetic import encode, gelu, normalise
from chatbot.engine.fused.compiling import array, compiled

f32, u8 = np.float32, np.uint8


@compiled
def product(codes_: Any, weight_: Any, scale_: Any, out_: Any, rows: Any, outputs: Any, inputs: Any) -> None:
    """Write codes [R, N] times weights [K, N] (int8), by the scale of each output, to out [R, K].

    For few rows: a library's call takes longer than the product.
    """
    codes = array(codes_, (rows, inputs), u8)
    weight = array(weight_, (outputs, inputs), np.int8)
    scale = array(scale_, outputs, f32)
    out = array(out_, (rows, outputs), f32)
    row = np.empty(inputs, np.int16)
    for r in range(rows):
        for i in range(inputs):
            row[i] = np.int16(np.int16(codes[r, i]) - np.int16(128))
        for k in range(outputs):
            total = np.int32(0)
            for i in range(inputs):
                total += np.int32(np.int32(row[i]) * np.int32(weight[k, i]))
            out[r, k] = np.float32(np.int32(total)) * scale[k]


@compiled
def norm(x_: Any, gain_: Any, shift_: Any, least: Any, codes_: Any, peak_: Any, rows: Any, width: Any) -> None:
    """Write the codes of the layer norm of x [R, D]."""
    x, codes, peak = array(x_, (rows, width), f32), array(codes_, rows * width, u8), array(peak_, rows, f32)
    gain, shift = array(gain_, width, f32), array(shift_, width, f32)
    out = np.empty(width, f32)
    for r in range(rows):
        normalise(x[r], out, gain, shift, width, least)
        peak[r] = encode(out, codes, r * width, width)


@compiled
def add_norm(
    x_: Any,
    product_: Any,
    bias_: Any,
    gain_: Any,
    shift_: Any,
    least: Any,
    codes_: Any,
    peak_: Any,
    rows: Any,
    width: Any,
) -> None:
    """Add a product of codes to x [R, D], and write the codes of its layer norm."""
    x, codes, peak = array(x_, (rows, width), f32), array(codes_, rows * width, u8), array(peak_, rows, f32)
    added, bias = array(product_, (rows, width), f32), array(bias_, width, f32)
    gain, shift = array(gain_, width, f32), array(shift_, width, f32)
    out = np.empty(width, f32)
    for r in range(rows):
        for i in range(width):
            x[r, i] += added[r, i] * peak[r] + bias[i]
        normalise(x[r], out, gain, shift, width, least)
        peak[r] = encode(out, codes, r * width, width)


@compiled
def activate(product_: Any, bias_: Any, codes_: Any, peak_: Any, rows: Any, width: Any) -> None:
    """Write the codes of the GELU of a product [R, D]."""
    inner, bias = array(product_, (rows, width), f32), array(bias_, width, f32)
    codes, peak = array(codes_, rows * width, u8), array(peak_, rows, f32)
    out = np.empty(width, f32)
    for r in range(rows):
        for i in range(width):
            out[i] = gelu(inner[r, i] * peak[r] + bias[i])
        peak[r] = encode(out, codes, r * width, width)


@compiled
def finish(product_: Any, bias_: Any, peak_: Any, rows: Any, width: Any) -> None:
    """Give a product [R, D] its peaks and its bias, in place."""
    out, bias, peak = array(product_, (rows, width), f32), array(bias_, width, f32), array(peak_, rows, f32)
    for r in range(rows):
        for i in range(width):
            out[r, i] = out[r, i] * peak[r] + bias[i]


@compiled
def codes_of(x_: Any, codes_: Any, peak_: Any, rows: Any, width: Any) -> None:
    """Write the codes of x [R, D]."""
    x, codes, peak = array(x_, (rows, width), f32), array(codes_, rows * width, u8), array(peak_, rows, f32)
    for r in range(rows):
        peak[r] = encode(x[r], codes, r * width, width)


@compiled
def mean_of_norm(
    x_: Any, gain_: Any, shift_: Any, least: Any, starts_: Any, contexts: Any, out_: Any, width: Any
) -> None:
    """Write to out [B, D] the mean, over a context's rows, of the layer norm of x [R, D]."""
    starts = array(starts_, contexts + 1, np.int64)
    x, out = array(x_, (starts[contexts], width), f32), array(out_, (contexts, width), f32)
    gain, shift = array(gain_, width, f32), array(shift_, width, f32)
    row = np.empty(width, f32)
    for b in range(contexts):
        for i in range(width):
            out[b, i] = np.float32(0.0)
        count = max(starts[b + 1] - starts[b], 1)
        for r in range(starts[b], starts[b + 1]):
            normalise(x[r], row, gain, shift, width, least)
            for i in range(width):
                out[b, i] += row[i]
        for i in range(width):
            out[b, i] /= np.float32(count)
