"""Plays N raters of one study over HTTP against real services, a part of which may be killed meanwhile.

    python -m benchmarks.raters --quick
    python -m benchmarks.raters --raters 50 --items 500 --kill-every 5 --json raters.json

Reports judgements a second, latencies of asking for an item and of judging it, and whether every item has exactly its
k judgements, none of those acknowledged lost and none counted twice.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.workers import describe_machine, working

SLUG = "load"
CHOICES = ("left", "right", "tie", "both_bad")


@dataclass(frozen=True)
class Load:
    """How many raters judge how many items how often, and how unreliable they and the services are."""

    raters: int = 50
    items: int = 500
    k: int = 3
    abandoned: float = 0.1
    lease_seconds: int = 3
    think: float = 0.0
    """Seconds that a rater looks at an item, on average."""
    workers: int = 3
    kill_every: float = 0.0
    """Seconds between two kills, about; 0: none."""
    kills: int = 0
    """How many there are at least: raters wait where their work is ahead of them."""
    seed: int = 1


@dataclass
class Outcome:
    """What the raters met."""

    acknowledged: dict[str, int] = field(default_factory=dict)
    """Judgement by lease: what the service said it had stored."""
    next_seconds: list[float] = field(default_factory=list)
    judge_seconds: list[float] = field(default_factory=list)
    abandoned: int = 0
    late: int = 0
    """Judgements refused because the lease had run out and somebody else had taken the place."""
    retries: int = 0
    """Requests sent again because the connection broke."""
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0
    killed: int = 0


class Caller:
    """Sends a request to one of the services, and again to another when the connection breaks."""

    def __init__(self, addresses: list[str], outcome: Outcome, rng: random.Random) -> None:
        # No pool of kept connections: a service that was killed must not cost a second failure.
        self._client = httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None))
        self._addresses = addresses
        self._outcome = outcome
        self._rng = rng

    async def __call__(self, method: str, path: str, token: str = "", body: object = None) -> httpx.Response:
        """Return the answer. Raises RuntimeError when nobody answers for two minutes."""
        headers = {"Idempotency-Key": f"{self._rng.getrandbits(64)}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            address = self._rng.choice(self._addresses)
            try:
                return await self._client.request(method, address + path, headers=headers, json=body)
            except httpx.TransportError:
                self._outcome.retries += 1
                await asyncio.sleep(0.1)
        raise RuntimeError(f"{method} {path}: no service answered for two minutes")

    async def close(self) -> None:
        """Drop the connections."""
        await self._client.aclose()


async def prepare(call: Caller, load: Load) -> str:
    """Make and start the study, and return the token of an invitation."""
    protocol = {"kind": "pair", "k": load.k, "lease_seconds": load.lease_seconds}
    await _expect(call, 201, "POST", "/v1/studies", {"slug": SLUG, "title": "Load", "protocol": protocol})
    contexts = [
        {"turns": [f"question {i}"], "reply": f"human {i}", "replies": {"machine": f"machine {i}"}}
        for i in range(load.items)
    ]
    systems = [{"kind": "human"}, {"kind": "replies", "name": "machine"}]
    await _expect(call, 201, "POST", f"/v1/studies/{SLUG}/items", {"systems": systems, "contexts": contexts})
    await _expect(call, 200, "POST", f"/v1/studies/{SLUG}/start")
    invited = await _expect(call, 201, "POST", f"/v1/studies/{SLUG}/invitations", {"max_raters": load.raters})
    return str(invited["token"])


async def rate(
    call: Caller, invitation: str, load: Load, outcome: Outcome, rng: random.Random, killed: Callable[[], int]
) -> None:
    """Be one rater, from the invitation until there is nothing left to judge; `killed` counts kills so far."""
    joined = await _expect(call, 201, "POST", "/v1/raters/join", {"token": invitation, "simulated": True})
    token, prefix = joined["session_token"], f"/v1/studies/{SLUG}"
    agreed = await call("POST", f"{prefix}/consent", token, {"version": joined["consent"]["version"]})
    if agreed.status_code != 200:
        outcome.errors.append(f"consent: {agreed.status_code} {agreed.text[:200]}")
        return
    wanted = load.items * load.k
    while True:
        while killed() * wanted < len(outcome.acknowledged) * load.kills:
            await asyncio.sleep(0.05)
        started = time.perf_counter()
        answer = await call("GET", f"{prefix}/next", token)
        outcome.next_seconds.append(time.perf_counter() - started)
        if answer.status_code != 200:
            outcome.errors.append(f"next: {answer.status_code} {answer.text[:200]}")
            continue
        task = answer.json()["task"]
        if task is None:
            if answer.json()["reason"] == "done":
                return
            await asyncio.sleep(min(answer.json()["retry_after"], 0.5))
            continue
        if rng.random() < load.abandoned:
            outcome.abandoned += 1
            await asyncio.sleep(load.lease_seconds + 0.1)
            continue
        if load.think:
            await asyncio.sleep(rng.expovariate(1 / load.think))
        body = {"lease": task["lease"], "choice": rng.choice(CHOICES), "dwell_ms": 1}
        started = time.perf_counter()
        answer = await call("POST", f"{prefix}/judgements", token, body)
        outcome.judge_seconds.append(time.perf_counter() - started)
        if answer.status_code == 201:
            [outcome.acknowledged[task["lease"]]] = answer.json()["judgement_ids"]
        elif answer.status_code in (404, 409) and answer.json()["error"]["code"] in (
            "lease_expired",
            "lease_not_found",
        ):
            outcome.late += 1
        else:
            outcome.errors.append(f"judgements: {answer.status_code} {answer.text[:200]}")


async def play(
    addresses: list[str], load: Load, outcome: Outcome, killed: Callable[[], int] = lambda: 0
) -> dict[str, Any]:
    """Play all raters against the services, and return the study's progress at the end."""
    call = Caller(addresses, outcome, random.Random(load.seed))
    try:
        invitation = await prepare(call, load)
        started = time.perf_counter()
        await asyncio.gather(
            *(
                rate(call, invitation, load, outcome, random.Random(f"{load.seed}/{i}"), killed)
                for i in range(load.raters)
            )
        )
        outcome.seconds = time.perf_counter() - started
        return await _expect(call, 200, "GET", f"/v1/studies/{SLUG}/progress")
    finally:
        await call.close()


def run(load: Load, database_url: str | None, state: Path | None = None) -> tuple[Outcome, dict[str, Any]]:
    """Start the services, play the raters while services are killed, and return what came of it."""
    outcome = Outcome()
    with working(load.workers, database_url, state) as workers:
        if load.kill_every:
            workers.kill_now_and_then(load.kill_every, random.Random(load.seed))
        progress = asyncio.run(play(workers.addresses, load, outcome, lambda: workers.killed))
    outcome.killed = workers.killed
    return outcome, progress


def summarise(database: str, load: Load, outcome: Outcome, progress: dict[str, Any]) -> dict[str, Any]:
    """Return one row of the result."""
    normal = progress["purposes"]["normal"]
    return {
        "database": database,
        "workers": load.workers,
        "raters": load.raters,
        "items": load.items,
        "k": load.k,
        "think_seconds": load.think,
        "complete": progress["complete"],
        "judgements": normal["judgements"],
        "acknowledged": len(outcome.acknowledged),
        "abandoned": outcome.abandoned,
        "late": outcome.late,
        "killed": outcome.killed,
        "retries": outcome.retries,
        "errors": len(outcome.errors),
        "seconds": round(outcome.seconds, 2),
        "judgements_per_second": round(len(outcome.acknowledged) / outcome.seconds, 1),
        **{f"next_{name}": value for name, value in _percentiles(outcome.next_seconds).items()},
        **{f"judge_{name}": value for name, value in _percentiles(outcome.judge_seconds).items()},
    }


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="12 raters, 60 items: half a minute")
    parser.add_argument("--raters", type=int, default=50)
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--k", type=int, default=3)
    parser.add_argument("--abandoned", type=float, default=0.0, help="share of the leases that raters walk away from")
    parser.add_argument("--kill-every", type=float, default=0.0, metavar="SECONDS", help="kill a worker now and then")
    parser.add_argument(
        "--think", type=float, default=0.0, metavar="SECONDS", help="how long a rater looks, on average"
    )
    parser.add_argument("--lease-seconds", type=int, default=60)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", metavar="URL", help="an empty PostgreSQL database; SQLite without")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the result")
    given = parser.parse_args()
    load = Load(
        raters=12 if given.quick else given.raters,
        items=60 if given.quick else given.items,
        k=given.k,
        abandoned=given.abandoned,
        lease_seconds=given.lease_seconds,
        think=given.think,
        workers=given.workers,
        kill_every=given.kill_every,
        seed=given.seed,
    )
    outcome, progress = run(load, given.database)
    row = summarise("postgresql" if given.database else "sqlite", load, outcome, progress)
    result = {"machine": describe_machine(), "rows": [row]}
    text = json.dumps(result, indent=2)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write("\n".join([text, *outcome.errors[:10], ""]))


async def _expect(call: Caller, status: int, method: str, path: str, body: object = None) -> dict[str, Any]:
    answer = await call(method, path, body=body)
    if answer.status_code != status:
        raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
    found: dict[str, Any] = answer.json()
    return found


def _percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        f"p{percent}_ms": round(1000 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 1)
        for percent in (50, 95, 99)
    }


if __name__ == "__main__":
    main()
