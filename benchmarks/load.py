"""Clients that ask a service again and again, each as soon as it is answered, and what they saw."""

import asyncio
import itertools
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from benchmarks.decoding import tokens_of


@dataclass
class Seen:
    """What the clients measured, in seconds."""

    latencies: list[float] = field(default_factory=list)
    first_tokens: list[float] = field(default_factory=list)
    tokens: int = 0
    failures: int = 0
    seconds: float = 0.0

    def figures(self) -> dict[str, float]:
        """Return the figures of a row: rates each second, times in milliseconds."""
        ordered = sorted(self.latencies)
        if len(ordered) < 2:
            raise RuntimeError(f"{len(ordered)} answers in {self.seconds:.0f} s, expected more")
        percentiles = statistics.quantiles(ordered, n=100, method="inclusive")
        first = statistics.median(self.first_tokens) if self.first_tokens else statistics.median(ordered)
        return {
            "requests_per_s": len(ordered) / self.seconds,
            "tokens_per_s": self.tokens / self.seconds,
            "p50_ms": statistics.median(ordered) * 1e3,
            "p95_ms": percentiles[94] * 1e3,
            "p99_ms": percentiles[98] * 1e3,
            "first_token_ms": first * 1e3,
            "answers": len(ordered),
            "failures": self.failures,
        }


async def load(
    url: str, texts: list[str], lengths: str, clients: int, seconds: float, *, model: str, stream: bool = False
) -> Seen:
    """Ask until `seconds` have been counted, and longer of a slow service: until two answers a client have been.

    Counting begins when each client has been answered once, or after a fifth of `seconds`, whichever is later.
    """
    seen = Seen()
    numbers = itertools.count()
    started = time.perf_counter()
    begin = end = None

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal begin, end
        while end is None:
            number = next(numbers)
            tokens = tokens_of(lengths, number)
            body = {
                "model": model,
                "messages": [{"role": "user", "content": texts[number % len(texts)]}],
                "max_tokens": tokens,
                "temperature": 1.0,
                "top_p": 0.95,
                "stream": stream,
            }
            asked = time.perf_counter()
            async with session.post(url, json=body) as answer:
                first = await _first(answer, asked) if stream else None
                await answer.read()
            now = time.perf_counter()
            once.add(asyncio.current_task())
            if begin is None and len(once) == clients and now - started >= seconds / 5:
                begin = now
            elif begin is None or end is not None:
                continue
            elif answer.status != 200:
                seen.failures += 1
            else:
                seen.latencies.append(now - asked)
                seen.tokens += tokens
                if first is not None:
                    seen.first_tokens.append(first)
                if now - begin >= seconds and len(seen.latencies) >= max(20, 2 * clients):
                    end = now

    once: set[asyncio.Task[None] | None] = set()
    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    assert begin is not None
    assert end is not None
    seen.seconds = end - begin
    return seen


async def _first(answer: aiohttp.ClientResponse, started: float) -> float | None:
    """Read the stream to its first text and return when it came."""
    async for line in answer.content:
        if line.startswith(b"data: {") and any(_texts(json.loads(line[6:]))):
            return time.perf_counter() - started
    return None


def _texts(chunk: dict[str, Any]) -> Iterator[str]:
    for choice in chunk.get("choices", ()):
        if content := choice.get("delta", {}).get("content"):
            yield content
