"""A GRU's gates (Cho et al. 2014) in one pass over each row, for lanes and for contexts.

Arguments are addresses of memory without gaps, unless strides say otherwise. R rows, D width.
"""

from typing import Any

import numpy as np

from chatbot.engine.fused.arithmetic import encode, hyperbolic_tangent, sigmoid
from chatbot.engine.fused.compiling import array, compiled, inlined

f32, u8 = np.float32, np.uint8


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
