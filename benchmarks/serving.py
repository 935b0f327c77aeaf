"""Serve the same model size by this service and by its peers, one after another in one run, and load each of them.

    pip install -e '.[serve,bench]'
    python -m benchmarks.serving --quick --json result.json

Prints a table and writes `{"machine": ..., "rows": [...]}`: for each system, lengths (`fixed`: 20 new tokens, `mixed`:
4 to 36) and number of clients the requests a second, latencies and the time to the first token (of a peer that does not
stream: to the whole reply). `rejoinder_streamed` is the same service with every reply streamed. Medians of the repeats.
"""

import argparse
import asyncio
import importlib.metadata
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine, peer_models
from benchmarks.load import load
from benchmarks.peers import PEERS

ROOT = Path(__file__).parents[1]
CLIENTS = (1, 16, 64)
SYSTEMS = ("rejoinder", "rejoinder_streamed", *PEERS)
_START_SECONDS = 120

Row = dict[str, Any]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Load this service and its peers.")
    parser.add_argument("--quick", action="store_true", help="under ten minutes on two cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine and rows to FILE")
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--lengths", default="fixed,mixed")
    parser.add_argument("--clients", default=",".join(map(str, CLIENTS)))
    parser.add_argument("--engines", type=int, help="of our service; its own default without it")
    parser.add_argument("--model", choices=["T", "G"], default="T", help="of our service: T is the peers' size too")
    options = parser.parse_args()
    seconds, repeats = (4.0, 1) if options.quick else (8.0, 3)
    systems = options.systems.split(",")
    if unknown := set(systems) - set(SYSTEMS):
        parser.error(f"unknown systems {', '.join(sorted(unknown))}, expected some of {', '.join(SYSTEMS)}")
    about = {**machine.describe(torch.device("cpu")), "versions": _versions(), "engines": options.engines}
    rows = []
    with tempfile.TemporaryDirectory(prefix="rejoinder-serving-") as folder:
        directory = Path(folder)
        found = peer_models.tokenizer()
        texts = peer_models.contexts(found, 256)
        peer_models.save_ours(directory, found, options.model)
        if set(systems) & set(PEERS):
            peer_models.save_peers(directory, found)
        for system in systems:
            with running(system, directory, options.engines) as url:
                for lengths in options.lengths.split(","):
                    for clients in map(int, options.clients.split(",")):
                        rows.append(measure(system, url, texts, lengths, clients, seconds, repeats, options.model))
                        _say(f"{json.dumps(rows[-1])}")
    _say(table(rows))
    if options.json:
        options.json.write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")


def measure(
    system: str, url: str, texts: list[str], lengths: str, clients: int, seconds: float, repeats: int, model: str
) -> Row:
    """Return the row of one system, lengths and number of clients: the median of every figure over the repeats."""
    figures = []
    for _ in range(repeats):
        stream = system == "rejoinder_streamed"
        seen = asyncio.run(load(url, texts, lengths, clients, seconds, model=model, stream=stream))
        figures.append(seen.figures())
    medians = {name: round(statistics.median(one[name] for one in figures), 2) for name in figures[0]}
    return {"system": system, "lengths": lengths, "clients": clients, "repeats": repeats, **medians}


@contextmanager
def running(system: str, directory: Path, engines: int | None) -> Iterator[str]:
    """Run a system until the block ends; gives the address to ask."""
    if system not in PEERS:
        with running_service(directory / "models", directory / f"state-{system}", engines) as (url, _):
            yield url
        return
    # What a user gets: torch takes all cores for one call, and calls come side by side from a thread pool.
    command = [sys.executable, "-m", "benchmarks.peers", system, "--directory", str(directory)]
    with _started(command, {}) as (url, _):
        yield url


@contextmanager
def running_service(models: Path, state: Path, engines: int | None) -> Iterator[tuple[str, int]]:
    """Run this service until the block ends; gives the address to ask and the process."""
    arguments = ["--models", str(models), "--state", str(state)]
    # As its peers: requests are not logged, and replies not guarded. One in eight of a model with random weights says a
    # word again and again, and our guard would have it drawn a second time.
    more = {"REJOINDER_DRAIN_SECONDS": "0", "REJOINDER_LOG_LEVEL": "warning", "REJOINDER_GUARDS": "false"}
    if engines:
        more |= {"REJOINDER_ENGINES": str(engines)}
    with _started([sys.executable, str(ROOT / "rejoinder.py"), "serve", *arguments], more) as found:
        yield found


@contextmanager
def _started(command: list[str], more: dict[str, str]) -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    process = subprocess.Popen([*command, "--port", str(port)], env=environment, cwd=ROOT, start_new_session=True)
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    try:
        _wait(process, url)
        yield url, process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", url: str) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        try:
            urllib.request.urlopen(urllib.request.Request(url, data=b"{}"), timeout=5)
        except urllib.error.HTTPError:
            return  # it answers, and found our empty request wrong
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"{process.args!r} does not answer after {_START_SECONDS} s")


def table(rows: Sequence[Row]) -> str:
    """Return the table: requests a second of each system, and its share of ours."""
    keys = list(dict.fromkeys((row["lengths"], row["clients"]) for row in rows))
    ours = {(row["lengths"], row["clients"]): row for row in rows if row["system"] == "rejoinder"}
    lines = [
        "requests/s (ours over theirs)  " + "  ".join(f"{lengths} {clients:>3}".rjust(16) for lengths, clients in keys)
    ]
    for system in dict.fromkeys(row["system"] for row in rows):
        cells = []
        for key in keys:
            row = next(row for row in rows if (row["lengths"], row["clients"]) == key and row["system"] == system)
            ratio = ours[key]["requests_per_s"] / row["requests_per_s"] if key in ours else float("nan")
            cells.append(f"{row['requests_per_s']:.1f} ({ratio:.1f}x)".rjust(16))
        lines.append(f"{system:<30} " + "  ".join(cells))
    return "\n".join(lines)


def _versions() -> dict[str, str]:
    found = {}
    for name in ("transformers", "ctranslate2", "litserve", "fastapi", "uvicorn"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - what the program is for


if __name__ == "__main__":
    main()
