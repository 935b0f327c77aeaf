"""When is a run collapsing: rules on a fixed probe, against the MLE model that it started from. Pure functions.

Never judged by D's own reward, which hovers around zero however good or bad the generator is.
"""

import math
from dataclasses import dataclass

DISTINCT_2 = 0.75
TOP_REPLY = 0.05
LENGTH = (0.6, 1.6)
NLL_RISE = 0.15
KL = 0.2
ENTROPY = 0.5
ROLLBACKS = 3
"""After this many the run stops and keeps its best bundle."""


@dataclass(frozen=True)
class Probe:
    """What is measured of a generator on the fixed probe contexts (sampled at temperature 1) and validation pairs."""

    nll: float
    """Validation negative log-likelihood, nats per token."""
    distinct_1: float
    distinct_2: float
    top_reply_share: float
    mean_length: float
    """Tokens, end token counted."""
    entropy: float
    """Nats per token of the model's own distribution along its samples."""
    kl: float = 0.0
    """Nats per token to the frozen MLE model, along its samples."""


def alarms(now: Probe, start: Probe, human_length: float) -> list[str]:
    """Return each rule that `now` breaks, in words, with what was found and what the limit is; none is healthy.

    `start` is the MLE model's own probe; where that already exceeds a fixed limit, the limit gives way to it.
    """
    values = (now.nll, now.distinct_1, now.distinct_2, now.mean_length, now.entropy, now.kl)
    if not all(math.isfinite(v) for v in values):
        return ["a measure is not finite"]
    broken = []

    def check(wrong: bool, name: str, found: float, limit: float) -> None:
        if wrong:
            broken.append(f"{name} {found:.3f}, limit {limit:.3f}")

    check(now.distinct_2 < DISTINCT_2 * start.distinct_2, "distinct-2", now.distinct_2, DISTINCT_2 * start.distinct_2)
    top = max(TOP_REPLY, 1.5 * start.top_reply_share)
    check(now.top_reply_share > top, "top reply's share", now.top_reply_share, top)
    shortest = min(LENGTH[0] * human_length, 0.9 * start.mean_length)
    longest = max(LENGTH[1] * human_length, 1.1 * start.mean_length)
    check(now.mean_length < shortest, "mean length", now.mean_length, shortest)
    check(now.mean_length > longest, "mean length", now.mean_length, longest)
    check(now.nll > (1 + NLL_RISE) * start.nll, "validation NLL", now.nll, (1 + NLL_RISE) * start.nll)
    check(now.kl > KL, "KL per token", now.kl, KL)
    check(now.entropy < ENTROPY * start.entropy, "entropy", now.entropy, ENTROPY * start.entropy)
    return broken
