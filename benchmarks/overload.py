"""Ten times more requests than can be answered, for minutes: are those that are let in answered soon, the rest refused?

    python -m benchmarks.overload --models models --model small --minutes 5 --json result.json

Starts the service on MODELS and measures, one after another: one client alone (`unloaded`), as many as there are lanes
(`rated`: what it can do), requests arriving at random at ten times that rate (`overload`), and one client again
(`after`). A latency is counted from the moment at which the request was to be sent.
"""

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.serving import running_service
from benchmarks.workers import describe_machine

FEWEST = 100
"""Answers of one client alone, for a p99 to mean something."""


@dataclass
class Seen:
    """What came back, in seconds."""

    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    without_retry_after: int = 0
    seconds: float = 0.0

    def figures(self) -> dict[str, Any]:
        """Return rates each second, and times in milliseconds."""
        return {
            "seconds": round(self.seconds, 1),
            "statuses": dict(self.statuses),
            "without_retry_after": self.without_retry_after,
            "accepted_per_s": round(len(self.accepted) / self.seconds, 1),
            **{f"accepted_{name}": value for name, value in _percentiles(self.accepted).items()},
            **{f"refused_{name}": value for name, value in _percentiles(self.refused).items()},
        }


def main() -> None:
    """Load, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--model", required=True, help="the one of them to talk to")
    parser.add_argument("--best-of", type=int, default=8, help="replies drawn for each request: the engine's work")
    parser.add_argument("--clients", type=int, default=8, help="at the rated load: lanes / best-of")
    parser.add_argument("--times", type=float, default=10.0, help="the rated load")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--quick", action="store_true", help="20 seconds of overload")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    seconds = 20.0 if options.quick else 60 * options.minutes
    body = {
        "model": options.model,
        "messages": [{"role": "user", "content": "how are you?"}],
        "best_of": options.best_of,
    }
    with (
        tempfile.TemporaryDirectory(prefix="rejoinder-overload-") as folder,
        running_service(options.models, Path(folder), 1) as (url, _),
    ):
        rows = asyncio.run(_run(url, body, options.clients, options.times, seconds))
    p99 = {name: row["accepted_p99_ms"] for name, row in rows.items()}
    result = {
        "machine": describe_machine(),
        "best_of": options.best_of,
        "times": options.times,
        "p99_of_unloaded": round(p99["overload"] / p99["unloaded"], 2),
        "p99_of_rated": round(p99["overload"] / p99["rated"], 2),
        **rows,
    }
    print(json.dumps(result, indent=1))  # noqa: T201
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


async def _run(url: str, body: dict[str, Any], clients: int, times: float, seconds: float) -> dict[str, dict[str, Any]]:
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        rng = random.Random(1)
        await _closed(session, url, body, 1, 2.0)  # warm
        rows = {"unloaded": await _closed(session, url, body, 1, 10.0)}
        rows["rated"] = await _closed(session, url, body, clients, 10.0)
        rate = times * len(rows["rated"].accepted) / rows["rated"].seconds
        rows["overload"] = await _open(session, url, body, rate, seconds, rng)
        await asyncio.sleep(2)
        rows["after"] = await _closed(session, url, body, 1, 10.0)
    return {name: seen.figures() for name, seen in rows.items()}


async def _closed(session: aiohttp.ClientSession, url: str, body: dict[str, Any], clients: int, seconds: float) -> Seen:
    """Let each client ask as soon as it is answered."""
    seen = Seen()
    started = time.perf_counter()

    async def client() -> None:
        while time.perf_counter() - started < seconds or len(seen.accepted) < FEWEST:
            await _ask(session, url, body, seen, time.perf_counter())

    await asyncio.gather(*(client() for _ in range(clients)))
    seen.seconds = time.perf_counter() - started
    return seen


async def _open(
    session: aiohttp.ClientSession, url: str, body: dict[str, Any], rate: float, seconds: float, rng: random.Random
) -> Seen:
    """Ask at random moments, `rate` times a second, whatever becomes of the others."""
    seen = Seen()
    asked: set[asyncio.Task[None]] = set()
    started = due = time.perf_counter()
    while due - started < seconds:
        due += rng.expovariate(rate)
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        task = asyncio.create_task(_ask(session, url, body, seen, due))
        asked.add(task)
        task.add_done_callback(asked.discard)
    seen.seconds = time.perf_counter() - started
    await asyncio.gather(*asked)
    return seen


async def _ask(session: aiohttp.ClientSession, url: str, body: dict[str, Any], seen: Seen, due: float) -> None:
    try:
        async with session.post(url, json=body) as answer:
            await answer.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        seen.statuses[type(error).__name__] += 1
        return
    seen.statuses[str(answer.status)] += 1
    took = time.perf_counter() - due
    if answer.status == 200:
        seen.accepted.append(took)
        return
    seen.refused.append(took)
    seen.without_retry_after += "Retry-After" not in answer.headers


def _percentiles(seconds: list[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {}
    found = statistics.quantiles(seconds, n=100, method="inclusive")
    return {f"p{percent}_ms": round(1e3 * found[percent - 1], 1) for percent in (50, 95, 99)}


if __name__ == "__main__":
    main()
