"""Attention in one pass over each row, over as many tokens as there are: none is spent on padding.

Arguments are addresses of memory without gaps, unless strides say otherwise. R rows, D width, H heads.
"""

import math
from typing import Any

import numpy as np

from chatbot.engine.fused.arithmetic import encode, exponential
from chatbot.engine.fused.compiling import array, compiled, inlined

f32, u8 = np.float32, np.uint8


@inlined
def look(
    query: Any, at: Any, keys: Any, values: Any, stride: Any, count: Any, width: Any, scores: Any, out: Any
) -> None:
    """Write to out[at : at + width] what a query sees of `count` values that lie `stride` apart (attention)."""
    best = np.float32(-np.inf)
    for t in range(count):
        score = np.float32(0.0)
        for i in range(width):
            score += query[at + i] * keys[t * stride + i]
        scores[t] = score
        best = score if score > best else best
    total = np.float32(0.0)
    for t in range(count):
        weight = exponential(scores[t] - best)
        scores[t] = weight
        total += weight
    for i in range(width):
        out[at + i] = np.float32(0.0)
    for t in range(count):
        weight = scores[t] / total
        for i in range(width):
            out[at + i] += weight * values[t * stride + i]


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

    The product [R, 3 D] holds query, key and value; the caches [R, H, T, D/H] are as far apart as the strides say.
    """
    inner, bias = array(product_, (rows, 3 * width), f32), array(bias_, 3 * width, f32)
    codes, peak = array(codes_, rows * width, u8), array(peak_, rows, f32)
    position = array(position_, rows, np.int64)
    part = width // heads
    scale = np.float32(1.0 / math.sqrt(part))
    query, seen = np.empty(width, f32), np.empty(width, f32)
    longest = np.int64(0)
    for r in range(rows):
        longest = max(longest, position[r] + 1)
    scores = np.empty(longest, f32)
    for r in range(rows):
        last = position[r]
        for i in range(width):
            query[i] = (inner[r, i] * peak[r] + bias[i]) * scale
        for h in range(heads):
            offset = (r * lane_stride + h * head_stride) * 4
            keys = array(keys_ + offset, (last + 1) * part, f32)
            values = array(values_ + offset, (last + 1) * part, f32)
            for i in range(part):
                at = width + h * part + i
                keys[last * part + i] = inner[r, at] * peak[r] + bias[at]
                values[last * part + i] = inner[r, width + at] * peak[r] + bias[width + at]
            look(query, h * part, keys, values, part, last + 1, part, scores, seen)
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

    Keys and values [R, H, S, D/H] are as far apart as the strides say; the mask's first ones are true.
    """
    inner, bias = array(product_, (rows, width), f32), array(bias_, width, f32)
    codes, peak = array(codes_, rows * width, u8), array(peak_, rows, f32)
    part = width // heads
    scale = np.float32(1.0 / math.sqrt(part))
    query, seen, scores = np.empty(width, f32), np.empty(width, f32), np.empty(longest, f32)
    for r in range(rows):
        mask = array(mask_ + r * mask_stride, longest, u8)
        count = 0
        while count < longest and mask[count]:
            count += 1
        for i in range(width):
            query[i] = (inner[r, i] * peak[r] + bias[i]) * scale
        for h in range(heads):
            offset = (r * lane_stride + h * head_stride) * 4
            keys, values = array(keys_ + offset, longest * part, f32), array(values_ + offset, longest * part, f32)
            look(query, h * part, keys, values, part, count, part, scores, seen)
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
    for r in range(rows):
        for i in range(3 * width):
            inner[r, i] = inner[r, i] * peak[r] + bias[i]
        for i in range(width):
            inner[r, i] *= scale
    for b in range(contexts):
        first, count = starts[b], starts[b + 1] - starts[b]
        for r in range(first, first + count):
            for h in range(heads):
                at = (first * 3 * width + width + h * part) * 4
                extent = (count - 1) * 3 * width + part
                keys, values = array(product_ + at, extent, f32), array(product_ + at + width * 4, extent, f32)
                look(inner[r], h * part, keys, values, 3 * width, count, part, scores, seen)
            peak[r] = encode(seen, codes, r * width, width)


@compiled
def remember(
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
    """Put keys and values, a product [R, 2 D] over the rows of all contexts, into [B, H, S, D/H] each."""
    starts = array(starts_, contexts + 1, np.int64)
    part = width // heads
    inner, bias = array(product_, (starts[contexts], 2 * width), f32), array(bias_, 2 * width, f32)
    peak = array(peak_, starts[contexts], f32)
    keys = array(keys_, (contexts, heads, longest, part), f32)
    values = array(values_, (contexts, heads, longest, part), f32)
    for b in range(contexts):
        for t in range(starts[b + 1] - starts[b]):
            r = starts[b] + t
            for h in range(heads):
                for i in range(part):
                    at = h * part + i
                    keys[b, h, t, i] = inner[r, at] * peak[r] + bias[at]
                    values[b, h, t, i] = inner[r, width + at] * peak[r] + bias[width + at]
