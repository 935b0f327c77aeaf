"""Two hundred streams at a time for ten minutes, half of them dropped half-way: does anything pile up?

    python -m benchmarks.streams --models models --minutes 10 --json result.json

Starts the service on MODELS and samples, every ten seconds, the resident memory of its processes and what it still
holds. At the end nothing may be in work, and the service must answer as it did before.
"""

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.serving import running_service

CLIENTS = 200
PAUSE_SECONDS = 1.0


def main() -> None:
    """Load, sample, print and write."""
    parser = argparse.ArgumentParser(description="Stream and drop for a long time.")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--model", required=True, help="the one of them to talk to")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--quick", action="store_true", help="one minute")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    minutes = 1.0 if options.quick else options.minutes
    with (
        tempfile.TemporaryDirectory(prefix="rejoinder-streams-") as folder,
        running_service(options.models, Path(folder), None) as (url, process),
    ):
        rows, counts = asyncio.run(_load(url, process, options.model, minutes))
    half = rows[len(rows) // 2 :]
    # Of the second half alone: caches fill up in the first.
    growth = {name: half[-1][name] - half[0][name] for name in ("http_mb", "engines_mb")}
    result: dict[str, Any] = {"minutes": minutes, **counts, "growth_mb_in_the_second_half": growth, "rows": rows}
    print(json.dumps({key: value for key, value in result.items() if key != "rows"}, indent=1))  # noqa: T201
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


async def _load(url: str, process: int, model: str, minutes: float) -> tuple[list[dict[str, float]], dict[str, int]]:
    counts = {"whole": 0, "dropped": 0, "failed": 0}
    until = time.monotonic() + 60 * minutes
    rows: list[dict[str, float]] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def client(number: int) -> None:
            rng = random.Random(number)
            while time.monotonic() < until:
                await asyncio.sleep(rng.uniform(0, 2 * PAUSE_SECONDS))
                said = [{"role": "user", "content": f"how are you, {rng.randrange(10_000)}?"}]
                body = {"model": model, "messages": said, "stream": True}
                async with session.post(url, json=body) as answer:
                    if answer.status != 200:
                        counts["failed"] += 1
                        continue
                    lines = 0
                    async for _ in answer.content:
                        lines += 1
                        if number % 2 and lines > 4:
                            break
                    counts["dropped" if number % 2 else "whole"] += 1
                    if number % 2:
                        answer.close()

        clients = [asyncio.create_task(client(number)) for number in range(CLIENTS)]
        started = time.monotonic()
        while time.monotonic() < until:
            rows.append({"seconds": round(time.monotonic() - started), **_memory(process)})
            await asyncio.sleep(10)
        await asyncio.gather(*clients)
        await asyncio.sleep(2)
        rows.append({"seconds": round(time.monotonic() - started), **_memory(process)})
        said = [{"role": "user", "content": "how are you?"}]
        async with session.post(url, json={"model": model, "messages": said}) as answer:
            counts["answers_at_the_end"] = int(answer.status == 200)
    return rows, counts


def _memory(process: int) -> dict[str, float]:
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return {"http_mb": _resident(process), "engines_mb": sum(_resident(int(child)) for child in children)}


def _resident(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


if __name__ == "__main__":
    main()
