"""Throws damaged files at everything that reads files, for as long as one likes.

    python -m tests.faults.fuzz --minutes 10 --json fuzz.json

Each outcome must be success or one of our own errors, in one line: anything else is a fault of ours, as is a reader
that takes more than a minute or more than a few GiB of memory. The smallest input of each fault is kept in --keep.
"""

import argparse
import collections
import faulthandler
import json
import logging
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.faults.mutations import mutants
from tests.faults.targets import REFUSED, Target, targets

MEMORY = 6 * 2**30
"""Bytes of addresses that a reader may take beside what this program has mapped."""
SLOWEST = 60.0
TOGETHER = 100


@dataclass
class Outcome:
    """What came of one target."""

    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    faults: dict[str, str] = field(default_factory=dict)
    """By the place in the code, what was raised there."""


def attempt(target: Target, content: bytes, folder: Path) -> bool:
    """Let `target` read `content`, and say whether it did. Raises what is no error of ours, or none in one line."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        target.use(content, folder)
    except REFUSED as error:
        if not str(error) or "\n" in str(error):
            raise AssertionError(f"{type(error).__name__} that is no line: {str(error)!r}") from error
        return False
    return True


def attack(target: Target, folder: Path, examples: int, number: int, keep: Path, outcome: Outcome) -> None:
    """Throw so many mutants at `target`; a fault's smallest input is kept."""
    smallest = b""

    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
    )
    @given(mutants(target.seeds))
    def one(content: bytes) -> None:
        nonlocal smallest
        (keep / "last").write_bytes(content)  # if this process dies of it, it lies there
        faulthandler.dump_traceback_later(SLOWEST, exit=True)
        started = time.monotonic()
        smallest = content
        try:
            was_read = attempt(target, content, folder)
        finally:
            faulthandler.cancel_dump_traceback_later()
            outcome.slowest = max(outcome.slowest, time.monotonic() - started)
        outcome.read += was_read
        outcome.refused += not was_read

    try:
        one()
    except (Exception, MemoryError) as error:
        place = traceback.extract_tb(error.__traceback__)
        ours = next((frame for frame in reversed(place) if "/tests/" not in frame.filename), place[-1])
        name = f"{type(error).__name__} at {Path(ours.filename).name}:{ours.lineno}"
        if name not in outcome.faults:
            outcome.faults[name] = f"{error!s:.300}"
            path = keep / f"{target.name}-{name}".replace("/", "_").replace(" ", "_")
            path.write_bytes(smallest)
            print(f"FAULT {target.name}: {name}: {error!s:.300} ({path})", flush=True)  # noqa: T201


def main() -> None:
    """Run until the time is over; the exit status is 1 when there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", default="", help="targets whose name holds this")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", type=Path, default=None, metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given_options = parser.parse_args()
    logging.disable(logging.ERROR)  # what readers say beside their errors
    rng = random.Random(given_options.seed)
    keep = given_options.keep or Path(tempfile.mkdtemp(prefix="rejoinder-fuzz-"))
    keep.mkdir(parents=True, exist_ok=True)
    outcomes: dict[str, Outcome] = collections.defaultdict(Outcome)
    with tempfile.TemporaryDirectory(prefix="rejoinder-fuzz-") as folder:
        workshop = Path(folder)
        chosen = [target for target in targets(workshop) if given_options.only in target.name]
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        end = time.monotonic() + 60 * given_options.minutes
        while time.monotonic() < end:
            for target in chosen:
                attack(target, workshop / "file", TOGETHER, rng.getrandbits(32), keep, outcomes[target.name])
                if time.monotonic() > end:
                    break
    rows = {name: vars(outcome) for name, outcome in outcomes.items()}
    total = sum(outcome.read + outcome.refused for outcome in outcomes.values())
    faults = sum(len(outcome.faults) for outcome in outcomes.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    result = {"minutes": given_options.minutes, "files": total, "faults": faults, "peak_mb": peak, "targets": rows}
    print(json.dumps(result, indent=1))  # noqa: T201
    if given_options.json:
        given_options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
