"""How long does each page take while replies are being written beside it?

    python -m benchmarks.pages --quick --json pages.json

Starts the service on a model of serving size with random weights, keeps eight streams open, and asks for every page in
turn: with conversations, a judged study and a batch to show. Times are from the request to the last byte as a client on
the same machine sees them, so the server's own are below them; "nothing" is an address that does no work, and says how
busy the machine itself is. "anew" is the board after one more judgement, when its analysis cannot be the kept one.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from benchmarks import peer_models
from benchmarks.serving import running_service
from benchmarks.workers import describe_machine

STREAMS = 8
LIMIT_MS = 100.0
MODEL = "T"
PAGE = {"Accept": "text/html"}

Row = dict[str, Any]


def main() -> None:
    """Measure, print and write; the exit status says whether every page kept below the limit at the 95th percentile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 requests for each page instead of 100")
    parser.add_argument("--models", type=Path, help="a directory of bundles instead of the random one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rejoinder-pages-") as folder:
        directory = Path(folder)
        if options.models is None:
            peer_models.save_ours(directory, peer_models.tokenizer(), MODEL)
        with running_service(options.models or directory / "models", directory / "state", None) as (url, _):
            rows, replies = asyncio.run(measure(url.removesuffix("/v1/chat/completions"), 20 if options.quick else 100))
    result = {
        "machine": {**describe_machine(), "load": os.getloadavg()[0]},
        "streams": STREAMS,
        "replies_beside": replies,
        "rows": rows,
    }
    sys.stdout.write(table(rows) + f"\n{replies} replies were written meanwhile\n")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if any(row["p95_ms"] > LIMIT_MS for row in rows):
        sys.exit(1)


async def measure(address: str, repeats: int) -> tuple[list[Row], int]:
    """Return a row for each page, and how many replies the streams beside it brought to their ends."""
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=httpx.Limits(max_connections=None)) as client:
        model = (await client.get("/v1/models")).json()["data"][0]["id"]
        places, study = await _furnish(client, model)
        replies = [0]
        streams = [asyncio.create_task(_stream(client, model, number, replies)) for number in range(STREAMS)]
        try:
            while not replies[0]:
                await asyncio.sleep(0.05)
            rows = [await _time(client, name, path, repeats) for name, path in places.items()]
            rows.append(await _time_anew(client, study, min(repeats, 20)))
        finally:
            for one in streams:
                one.cancel()
            await asyncio.gather(*streams, return_exceptions=True)
    return rows, replies[0]


def row_of(page: str, seconds: Sequence[float]) -> Row:
    """Return one row of the result."""
    ordered = sorted(seconds)
    return {
        "page": page,
        "requests": len(ordered),
        "p50_ms": round(1000 * ordered[len(ordered) // 2], 1),
        "p95_ms": round(1000 * ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)], 1),
        "worst_ms": round(1000 * ordered[-1], 1),
    }


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table."""
    lines = [f"{'page':<14} {'p50':>8} {'p95':>8} {'worst':>8}  (ms)"]
    lines += [f"{row['page']:<14} {row['p50_ms']:>8} {row['p95_ms']:>8} {row['worst_ms']:>8}" for row in rows]
    return "\n".join(lines)


async def _stream(client: httpx.AsyncClient, model: str, number: int, replies: list[int]) -> None:
    while True:
        said = [{"role": "user", "content": f"how are you, {number}-{replies[0]}?"}]
        body = {"model": model, "messages": said, "stream": True, "min_tokens": 30}
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            answer.raise_for_status()
            async for _ in answer.aiter_lines():
                pass
        replies[0] += 1


async def _time(client: httpx.AsyncClient, name: str, path: str, repeats: int) -> Row:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        answer = await client.get(path, headers=PAGE, follow_redirects=False)
        seconds.append(time.perf_counter() - started)
        if answer.status_code != 200:
            raise RuntimeError(f"{path}: {answer.status_code}")
        await asyncio.sleep(0.01)
    return row_of(name, seconds)


async def _time_anew(client: httpx.AsyncClient, study: str, repeats: int) -> Row:
    """Time the board when something was judged since it was last looked at."""
    seconds = []
    for _ in range(repeats):
        task = (await _expect(client, "GET", f"/v1/studies/{study}/next"))["task"]
        await _expect(client, "POST", f"/v1/studies/{study}/judgements", {"lease": task["lease"], "choice": "left"})
        started = time.perf_counter()
        answer = await client.get(f"/board?study={study}", headers=PAGE)
        seconds.append(time.perf_counter() - started)
        answer.raise_for_status()
    return row_of("board, anew", seconds)


async def _furnish(client: httpx.AsyncClient, model: str) -> tuple[dict[str, str], str]:
    """Have something to show on every page; return the pages' addresses and the name of a running study."""
    form = {"message": "hello", "model": model}
    for _ in range(5):
        talk = await client.post("/chat", data=form, headers=PAGE, follow_redirects=True)
        talk.raise_for_status()
    study = "pages"
    await _expect(
        client, "POST", "/v1/studies", {"slug": study, "title": "A study", "protocol": {"kind": "pair", "k": 1}}
    )
    contexts = [{"turns": [f"hello {i}"], "reply": f"hi {i}"} for i in range(100)]
    systems = [{"kind": "human"}, {"kind": "model", "model": model}]
    await _expect(client, "POST", f"/v1/studies/{study}/items", {"systems": systems, "contexts": contexts})
    await _expect(client, "POST", f"/v1/studies/{study}/start")
    invited = await _expect(client, "POST", f"/v1/studies/{study}/invitations", {"max_raters": 1})
    await client.get(invited["path"], headers=PAGE, follow_redirects=True)  # the session's cookie stays with the client
    await _expect(client, "POST", f"/v1/studies/{study}/consent", {"version": "1"})
    for _ in range(60):
        task = (await _expect(client, "GET", f"/v1/studies/{study}/next"))["task"]
        await _expect(client, "POST", f"/v1/studies/{study}/judgements", {"lease": task["lease"], "choice": "right"})
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions"}
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    files = {"file": ("requests.jsonl", json.dumps({**line, "body": body}).encode())}
    sent = await client.post("/batches", files=files, data={"purpose": "batch"}, headers=PAGE)
    if sent.status_code != 303:
        raise RuntimeError(f"/batches: {sent.status_code}")
    places = {
        "nothing": "/health/live",
        "chat": str(talk.url.copy_with(fragment=None).raw_path.decode()),
        "arena": "/arena",
        "rating": f"/rate/{study}",
        "board": f"/board?study={study}",
        "board, all": "/board",
        "studies": "/studies",
        "study": f"/studies/{study}",
        "models": "/models",
        "model": f"/models/{model}",
        "batches": "/batches",
    }
    return places, study


async def _expect(client: httpx.AsyncClient, method: str, path: str, body: object = None) -> dict[str, Any]:
    answer = await client.request(method, path, json=body)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


if __name__ == "__main__":
    main()
