"""How many mutants the tests catch: what `mutmut run` left in `mutants/`, counted by module and by group.

Knows the groups and the share that each must reach; which files are mutated and which tests run is in pyproject.toml.
"""

import argparse
import json
import platform
import sys
from collections import Counter
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

GROUPS: Final = {
    "losses": ("training/losses.py", "training/critic.py"),
    "rewards": ("training/rewards.py", "training/baselines.py", "training/search.py"),
    "lease queue": ("app/studies/queue.py",),
    "statistics": ("app/statistics/",),
}
LEAST: Final = 0.85
"""Share of the mutants of each group that must be caught."""

# mutmut's exit codes: pytest's own, and the signals and numbers that stand for what stopped it.
_OUTCOMES: Final = {
    **dict.fromkeys((1, 3), "killed"),
    **dict.fromkeys((36, 24, -24, 152, 255), "timeout"),
    **dict.fromkeys((-11, -9), "crashed"),
    **dict.fromkeys((0, 5, 33), "survived"),  # 5 and 33: no test reaches the function at all
}


def outcomes_of(meta: Path) -> Counter[str]:
    """Return how many mutants of one module came to which end; a mutant that did not run is `unknown`."""
    codes = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
    return Counter(_OUTCOMES.get(code, "unknown") for code in codes.values())


def report(directory: Path) -> dict[str, Any]:
    """Return the counts of every group and its modules under `directory`, where mutmut wrote."""
    modules = {
        meta.relative_to(directory).as_posix().removesuffix(".meta"): outcomes_of(meta)
        for meta in sorted(directory.rglob("*.py.meta"))
    }
    groups = {}
    for name, prefixes in GROUPS.items():
        own = {module: found for module, found in modules.items() if found and module.startswith(prefixes)}
        total: Counter[str] = sum(own.values(), Counter())
        groups[name] = {**_row(total), "modules": {module: _row(found) for module, found in own.items()}}
    return groups


def _row(found: Counter[str]) -> dict[str, Any]:
    mutants, survived = found.total(), found["survived"]
    return {
        "mutants": mutants,
        "killed": found["killed"],
        "timeouts": found["timeout"],
        "crashed": found["crashed"],
        "survived": survived,
        "unknown": found["unknown"],
        "caught": round((mutants - survived - found["unknown"]) / mutants, 4) if mutants else 0.0,
    }


def table(groups: dict[str, Any]) -> str:
    """Return the counts as a Markdown table."""
    lines = ["| module | mutants | killed | timeouts | survived | caught |", "|---|---|---|---|---|---|"]
    for name, group in groups.items():
        for title, row in ((f"**{name}**", group), *group["modules"].items()):
            counts = (row["mutants"], row["killed"], row["timeouts"] + row["crashed"], row["survived"])
            lines.append(f"| {title} | {' | '.join(map(str, counts))} | {row['caught']:.1%} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Print the table, write the counts, and return 1 when a group stays below what it must reach."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutation", description=__doc__)
    parser.add_argument("--mutants", type=Path, default=Path("mutants"), help="where mutmut wrote; mutants/ by default")
    parser.add_argument("--json", type=Path, default=None, help="write the counts there")
    options = parser.parse_args(argv)
    groups = report(options.mutants)
    sys.stdout.write(table(groups) + "\n")
    if options.json is not None:
        result = {
            "date": date.today().isoformat(),  # noqa: DTZ011, the day where it ran
            "python": platform.python_version(),
            "mutmut": version("mutmut"),
            "groups": groups,
        }
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    low = [f"{name} {group['caught']:.1%}" for name, group in groups.items() if group["caught"] < LEAST]
    unfinished = sum(group["unknown"] for group in groups.values())
    if low:
        sys.stderr.write(f"below {LEAST:.0%}: {', '.join(low)}\n")
    if unfinished:
        sys.stderr.write(f"{unfinished} mutants have no outcome: the run did not finish\n")
    return 1 if low or unfinished else 0


if __name__ == "__main__":
    sys.exit(main())
