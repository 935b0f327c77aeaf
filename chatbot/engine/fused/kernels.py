"""What happens between the products of a step, each in one pass over its rows while they are in the cache.

A row is computed by itself and always in the same order: what stands beside it cannot change it by a bit. Arguments are
addresses of memory without gaps, unless strides say otherwise. R rows, D width, N inputs and K outputs of a product,
H heads.

Codes are whole numbers around 128 (uint8): a row's numbers, each divided by the row's peak and times 127. A product of
codes is to be multiplied with the peak again, and then a bias added, before it means anything.
"""

import math
from typing import Any

import numpy as np

from chatbot.engine.fused.compiling import array, compiled, inlined

f32, i32, u8 = np.float32, np.int32, np.uint8


@inlined
def exponential(x: Any) -> Any:
    """Return e^x, of which 3e-7 may be wrong, and 6e-8 for each unit of |x|; below -87 that of -87, above 88 that of 88."""
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
def embed(
    x_: Any,
    tokens_: Any,
    table_: Any,
    entries: Any,
    scale: Any,
    places_: Any,
    positions_: Any,
    most: Any,
    rows: Any,
    width: Any,
) -> int:
    """Write to x [R, D] each token's entry of the table, times scale, and that of its place where positions are given.

    Return how many tokens are not in the table, or stand at a place beyond `most`; then nothing is written.
    """
    x = array(x_, (rows, width), f32)
    tokens, places = array(tokens_, rows, np.int64), array(places_, rows, np.int64)
    wrong = 0
    for r in range(rows):
        wrong += not 0 <= tokens[r] < entries
        wrong += positions_ != 0 and not 0 <= places[r] < most
    if wrong:
        return wrong
    for r in range(rows):
        token = array(table_ + tokens[r] * width * 4, width, f32)
        for i in range(width):
            x[r, i] = token[i] * np.float32(scale)
        if positions_ != 0:
            position = array(positions_ + places[r] * width * 4, width, f32)
            for i in range(width):
                x[r, i] += position[i]
    return 0


@compiled
def embed_contexts(
    x_: Any,
    starts_: Any,
    contexts_: Any,
    contexts: Any,
    longest: Any,
    table_: Any,
    entries: Any,
    scale: Any,
    marks_: Any,
    last_mark: Any,
    end_of_turn: Any,
    positions_: Any,
    most: Any,
    width: Any,
) -> int:
    """Write to x [R, D] the embedding of each real token of the contexts [B, S], with marks that count turns back.

    With positions, a token's place counts from the context's end. Return what `embed` does.
    """
    starts = array(starts_, contexts + 1, np.int64)
    x = array(x_, (starts[contexts], width), f32)
    tokens = array(contexts_, (contexts, longest), np.int64)
    wrong = 0
    for b in range(contexts):
        count = starts[b + 1] - starts[b]
        wrong += positions_ != 0 and count > most
        for t in range(count):
            wrong += not 0 <= tokens[b, t] < entries
    if wrong:
        return wrong
    for b in range(contexts):
        count = starts[b + 1] - starts[b]
        back = -1
        for t in range(count - 1, -1, -1):
            r = starts[b] + t
            back += tokens[b, t] == end_of_turn
            token = array(table_ + tokens[b, t] * width * 4, width, f32)
            mark = array(marks_ + min(max(back, 0), last_mark) * width * 4, width, f32)
            for i in range(width):
                x[r, i] = token[i] * np.float32(scale) + mark[i]
            if positions_ != 0:
                position = array(positions_ + (count - 1 - t) * width * 4, width, f32)
                for i in range(width):
                    x[r, i] += position[i]
    return 0


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


@compiled
def codes_of(x_: Any, codes_: Any, peak_: Any, rows: Any, width: Any) -> None:
    """Write the codes of x [R, D]."""
    x, codes, peak = array(x_, (rows, width), f32), array(codes_, rows * width, u8), array(peak_, rows, f32)
    for r in range(rows):
        peak[r] = encode(x[r], codes, r * width, width)


@inlined
def carry(given: Any, peak: Any, bias: Any, carried: Any, peak2: Any, bias2: Any, state: Any, width: Any) -> None:
    """Bring the state of a GRU (Cho et al. 2014) forward, given the products of its input and of the state itself."""
    for i in range(width):
        j, k = width + i, 2 * width + i
        reset = sigmoid(given[i] * peak + bias[i] + carried[i] * peak2 + bias2[i])
        update = sigmoid(given[j] * peak + bias[j] + carried[j] * peak2 + bias2[j])
        new = hyperbolic_tangent(given[k] * peak + bias[k] + reset * (carried[k] * peak2 + bias2[k]))
        state[i] = new + update * (state[i] - new)


@compiled
def carry_lanes(
    given_: Any,
    peak_: Any,
    bias_: Any,
    carried_: Any,
    carried_peak_: Any,
    carried_bias_: Any,
    state_: Any,
    x_: Any,
    rows: Any,
    width: Any,
) -> None:
    """Bring states [R, D] forward in place, and add them to x [R, D]."""
    given, carried = array(given_, (rows, 3 * width), f32), array(carried_, (rows, 3 * width), f32)
    peak, carried_peak = array(peak_, rows, f32), array(carried_peak_, rows, f32)
    bias, carried_bias = array(bias_, 3 * width, f32), array(carried_bias_, 3 * width, f32)
    state, x = array(state_, (rows, width), f32), array(x_, (rows, width), f32)
    for r in range(rows):
        carry(given[r], peak[r], bias, carried[r], carried_peak[r], carried_bias, state[r], width)
        for i in range(width):
            x[r, i] += state[r, i]


@compiled
def carry_contexts(
    given_: Any,
    peak_: Any,
    bias_: Any,
    carried_: Any,
    carried_peak_: Any,
    carried_bias_: Any,
    state_: Any,
    starts_: Any,
    contexts: Any,
    step: Any,
    backwards: Any,
    out_: Any,
    out_stride: Any,
    codes_: Any,
    width: Any,
) -> None:
    """Let each context [B] that is so long read its row `step`, from the back if `backwards`, and code its new state.

    The state is written to that row of `out`, whose rows are out_stride numbers apart.
    """
    starts = array(starts_, contexts + 1, np.int64)
    rows = starts[contexts]
    given, peak, bias = array(given_, (rows, 3 * width), f32), array(peak_, rows, f32), array(bias_, 3 * width, f32)
    carried = array(carried_, (contexts, 3 * width), f32)
    carried_peak, carried_bias = array(carried_peak_, contexts, f32), array(carried_bias_, 3 * width, f32)
    state, codes = array(state_, (contexts, width), f32), array(codes_, contexts * width, u8)
    for b in range(contexts):
        count = starts[b + 1] - starts[b]
        if step >= count:
            continue
        r = starts[b + 1] - 1 - step if backwards else starts[b] + step
        carry(given[r], peak[r], bias, carried[b], carried_peak[b], carried_bias, state[b], width)
        out = array(out_ + r * out_stride * 4, width, f32)
        for i in range(width):
            out[i] = state[b, i]
        carried_peak[b] = encode(state[b], codes, b * width, width)


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
