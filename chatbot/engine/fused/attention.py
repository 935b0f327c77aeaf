"""Attention in one pass over each row, over as many tokens as there are: none is spent on padding.

Arguments are addresses of memory without gaps, unless strides say otherwise. R rows, D width, H heads.
"""

import math
from typing import Any

import numpy as np

from chatbot.engine.fused.arithmetic import encode, exponential
from chatbot.engine.fused.compiling import array, compiled, inlined
from chatbot.engine.fused.registers import blend, blend_remembered, remember, score, score_remembered

f32, u8 = np.float32, np.uint8


def _looking(score: Any, blend: Any) -> Any:
    @inlined
    def look(
        query_: Any, keys_: Any, values_: Any, stride: Any, count: Any, width: Any, scores: Any, out_: Any
    ) -> None:
        """Write to out [width] what a query sees of values, `stride` bytes apart (Vaswani et al. 2017)."""
        score(query_, keys_, stride, count, width, scores.ctypes.data)
        best = np.float32(-np.inf)
        for t in range(count):
            best = scores[t] if scores[t] > best else best
        total = np.float32(0.0)
        for t in range(count):
            weight = exponential(scores[t] - best)
            scores[t] = weight
            total += weight
        for t in range(count):
            scores[t] /= total
        blend(scores.ctypes.data, values_, stride, count, width, out_)

    return look


look, look_at_remembered = _looking(score, blend), _looking(score_remembered, blend_remembered)


@compiled
def look_back(
    product_: Any,
    bias_: Any,
    keys_: Any,
    values_: Any,
    lane_stride: Any,
    head_stride: Any,
    position_: Any,
    codes_: Any,
    peak_: Any,
    rows: Any,
    width: Any,
    heads: Any,
) -> None:
    """Put each row's key and value into the cache at its position, and write the codes of what it sees of the cache.

    The product [R, 3 D] holds query, key and value; the caches [R, H, T, D/H] (bfloat16) are as far apart as the
    strides, counted in numbers, say.
    """
    inner, bias = array(product_, (rows, 3 * width), f32), array(bias_, 3 * width, f32)
    codes, peak = array(codes_, rows * width, u8), array(peak_, rows, f32)
    position = array(position_, rows, np.int64)
    part = width // heads
    stride = part * 2
    scale = np.float32(1.0 / math.sqrt(part))
    row, seen = np.empty(3 * width, f32), np.empty(width, f32)
    row_, seen_ = row.ctypes.data, seen.ctypes.data
    longest = np.int64(0)
    for r in range(rows):
        longest = max(longest, position[r] + 1)
    scores = np.empty(longest, f32)
    for r in range(rows):
        last = position[r]
        for i in range(3 * width):
            row[i] = inner[r, i] * peak[r] + bias[i]
        for i in range(width):
            row[i] *= scale
        for h in range(heads):
            at = h * part * 4
            offset = (r * lane_stride + h * head_stride) * 2
            remember(row_ + width * 4 + at, part, keys_ + offset + last * stride)
            remember(row_ + 2 * width * 4 + at, part, values_ + offset + last * stride)
            look_at_remembered(row_ + at, keys_ + offset, values_ + offset, stride, last + 1, part, scores, seen_ + at)
        peak[r] = encode(seen, codes, r * width, width)


@compiled
def look_at_context(
    product_: Any,
    bias_: Any,
    keys_: Any,
    values_: Any,
    lane_stride: Any,
    head_stride: Any,
    mask_: Any,
    mask_stride: Any,
    longest: Any,
    codes_: Any,
    peak_: Any,
    rows: Any,
    width: Any,
    heads: Any,
) -> None:
    """Write the codes of what each row's query, a product [R, D], sees of its context.

    Keys and values [R, H, S, D/H] (bfloat16) are as far apart as the strides, counted in numbers, say; the mask's first
    ones are true.
    """
    inner, bias = array(product_, (rows, width), f32), array(bias_, width, f32)
    codes, peak = array(codes_, rows * width, u8), array(peak_, rows, f32)
    part = width // heads
    scale = np.float32(1.0 / math.sqrt(part))
    query, seen, scores = np.empty(width, f32), np.empty(width, f32), np.empty(longest, f32)
    query_, seen_ = query.ctypes.data, seen.ctypes.data
    for r in range(rows):
        mask = array(mask_ + r * mask_stride, longest, u8)
        count = 0
        while count < longest and mask[count]:
            count += 1
        for i in range(width):
            query[i] = (inner[r, i] * peak[r] + bias[i]) * scale
        for h in range(heads):
            at = h * part * 4
            offset = (r * lane_stride + h * head_stride) * 2
            look_at_remembered(query_ + at, keys_ + offset, values_ + offset, part * 2, count, part, scores, seen_ + at)
        peak[r] = encode(seen, codes, r * width, width)


@compiled
def look_around(
    product_: Any, bias_: Any, starts_: Any, contexts: Any, codes_: Any, peak_: Any, width: Any, heads: Any
) -> None:
    """Write the codes of what each row sees of all rows of its context, given query, key and value as a product.

    The rows of context b are starts[b] to starts[b + 1]; the product is used up.
    """
    starts = array(starts_, contexts + 1, np.int64)
    rows = starts[contexts]
    inner, bias = array(product_, (rows, 3 * width), f32), array(bias_, 3 * width, f32)
    codes, peak = array(codes_, rows * width, u8), array(peak_, rows, f32)
    part = width // heads
    scale = np.float32(1.0 / math.sqrt(part))
    seen, scores = np.empty(width, f32), np.empty(rows, f32)
    seen_ = seen.ctypes.data
    for r in range(rows):
        for i in range(3 * width):
            inner[r, i] = inner[r, i] * peak[r] + bias[i]
        for i in range(width):
            inner[r, i] *= scale
    stride = 3 * width * 4
    for b in range(contexts):
        first = product_ + starts[b] * stride
        count = starts[b + 1] - starts[b]
        for r in range(starts[b], starts[b + 1]):
            for h in range(heads):
                at = h * part * 4
                keys_ = first + width * 4 + at
                look(product_ + r * stride + at, keys_, keys_ + width * 4, stride, count, part, scores, seen_ + at)
            peak[r] = encode(seen, codes, r * width, width)


@compiled
def remember_contexts(
    product_: Any,
    bias_: Any,
    peak_: Any,
    starts_: Any,
    contexts: Any,
    keys_: Any,
    values_: Any,
    longest: Any,
    width: Any,
    heads: Any,
) -> None:
    """Put keys and values, a product [R, 2 D] over all contexts' rows, into [B, H, S, D/H] (bfloat16) each."""
    starts = array(starts_, contexts + 1, np.int64)
    part = width // heads
    inner, bias = array(product_, (starts[contexts], 2 * width), f32), array(bias_, 2 * width, f32)
    peak = array(peak_, starts[contexts], f32)
    row = np.empty(2 * width, f32)
    for b in range(contexts):
        for t in range(starts[b + 1] - starts[b]):
            r = starts[b] + t
            for i in range(2 * width):
                row[i] = inner[r, i] * peak[r] + bias[i]
            for h in range(heads):
                source = row.ctypes.data + h * part * 4
                place = ((b * heads + h) * longest + t) * part * 2
                remember(source, part, keys_ + place)
                remember(source + width * 4, part, values_ + place)
