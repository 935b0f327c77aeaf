"""The draw of a step's tokens in one pass over each lane's logits, and not a pass for each operator.

It draws what `Lanes.draw` draws, by the same numbers of the same streams; sums differ in their last bits. B lanes, V
vocabulary.
"""

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from chatbot.decoding import BLOCK, DRAWS, GREEDY, ODD, TRIES, Lanes
from chatbot.engine.fused.arithmetic import exponential
from chatbot.engine.fused.compiling import array, compiled, inlined

f32 = np.float32
_ODD: Final = np.uint64(ODD)


def draw(lanes: Lanes, logits: Tensor, position: Tensor) -> Tensor:
    """Draw tokens [B] from constrained logits [B, V] (float32) at each lane's position [B]."""
    kept = lanes.only_likeliest(logits).contiguous()
    drawn = torch.empty(len(kept), dtype=torch.int64)
    missed = _draw(
        kept.data_ptr(),
        lanes.temperature.data_ptr(),
        lanes.top_p.data_ptr(),
        lanes.seeds.data_ptr(),
        position.data_ptr(),
        drawn.data_ptr(),
        kept.shape[0],
        kept.shape[1],
    )
    if missed:  # a small nucleus of a flat distribution, which is to be sorted out
        rows = (drawn < 0).nonzero().squeeze(1)
        drawn[rows] = lanes.select(rows).draw(kept.index_select(0, rows), position.index_select(0, rows))
    return drawn


@inlined
def _mix(x: Any) -> Any:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@inlined
def _uniform(seed: Any, counter: Any) -> Any:
    """Return a number in [0, 1): the hash of (seed, counter), as `uniforms` has it."""
    x = _mix(_mix(np.uint64(seed)) + np.uint64(counter + 1) * _ODD)
    return np.float64(x >> np.uint64(11)) / 2.0**53


@inlined
def _invert(mass: Any, sums: Any, last: Any, point: Any, size: Any) -> Any:
    """Return the token at which the masses, added up in float64 from the first, exceed `point`; none of mass 0.

    The first block is looked for by the sums of blocks, of which `last` is the last that is not 0.
    """
    before = 0.0
    block = 0
    while block < last and before + sums[block] <= point:
        before += sums[block]
        block += 1
    token = block * BLOCK
    for i in range(block * BLOCK, min((block + 1) * BLOCK, size)):
        if mass[i] > np.float32(0.0) and before <= point:
            token = i
        before += np.float64(mass[i])
    return token


@compiled
def _draw(
    logits_: Any,
    temperature_: Any,
    top_p_: Any,
    seeds_: Any,
    position_: Any,
    drawn_: Any,
    rows: Any,
    size: Any,
) -> int:
    """Write the tokens, -1 where every try has missed the nucleus, and return how many such there are."""
    logits = array(logits_, (rows, size), f32)
    temperature, top_p = array(temperature_, rows, f32), array(top_p_, rows, f32)
    seeds, position = array(seeds_, rows, np.int64), array(position_, rows, np.int64)
    drawn = array(drawn_, rows, np.int64)
    mass, sums = np.empty(size, f32), np.empty((size + BLOCK - 1) // BLOCK, np.float64)
    missed = 0
    for r in range(rows):
        row = logits[r]
        highest = np.int32(-2147483647)
        for i in range(size):  # as whole numbers, which are in the same order once negative ones are turned round
            bits = np.int32(np.float32(row[i]).view(np.int32))
            bits = np.int32(bits ^ np.int32(np.int32(bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))
            highest = bits if bits > highest else highest
        highest = np.int32(highest ^ np.int32(np.int32(highest >> np.int32(31)) & np.int32(0x7FFFFFFF)))
        best = np.int32(highest).view(np.float32)
        if temperature[r] < np.float32(GREEDY):
            token = 0
            while row[token] != best and token < size - 1:
                token += 1
            drawn[r] = token
            continue
        sharpness = np.float32(1.0) / temperature[r]
        for i in range(size):
            distance = (row[i] - best) * sharpness
            mass[i] = exponential(distance) if distance > np.float32(-87.0) else np.float32(0.0)
        total = 0.0
        last = 0
        for block in range(len(sums)):
            part = np.float32(0.0)
            for i in range(block * BLOCK, min((block + 1) * BLOCK, size)):
                part += mass[i]
            sums[block] = np.float64(part)
            total += sums[block]
            last = block if part > np.float32(0.0) else last
        token = -1
        for attempt in range(TRIES):
            candidate = _invert(mass, sums, last, _uniform(seeds[r], position[r] * DRAWS + attempt) * total, size)
            own = mass[candidate]
            above = np.float32(0.0)
            if top_p[r] < np.float32(1.0):
                for i in range(size):
                    above += mass[i] if mass[i] > own else np.float32(0.0)
            if top_p[r] >= np.float32(1.0) or np.float64(above) < np.float64(top_p[r]) * total:
                token = candidate
                break
        drawn[r] = token
        missed += token < 0
    return missed
