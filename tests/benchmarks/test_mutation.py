"""Counting mutants: what is caught, what is not, and what did not run."""

import json
from pathlib import Path

import pytest

from benchmarks.mutation import LEAST, main, report, table

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def write(directory: Path, module: str, *codes: int | None) -> None:
    """Write what mutmut writes about a module."""
    path = directory / f"{module}.meta"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"exit_code_by_key": {f"mutant {i}": code for i, code in enumerate(codes)}}))


def write_all(directory: Path) -> None:
    write(directory, "training/losses.py", *[1] * 9, 0)
    write(directory, "training/rewards.py", *[1] * 5, 3, -24, 36, -11)
    write(directory, "training/search.py", 33)
    write(directory, "training/loop.py")  # copied, not mutated
    write(directory, "app/studies/queue.py", *[1] * 17, 0, 5, 0)
    write(directory, "app/statistics/pairs.py", 1)
    write(directory, "app/statistics/turing.py", *[1] * 6, 0)


def test_a_group_is_the_sum_of_its_modules(tmp_path: Path) -> None:
    write_all(tmp_path)
    found = report(tmp_path)
    assert {name: (group["mutants"], group["caught"]) for name, group in found.items()} == {
        "losses": (10, 0.9),
        "rewards": (10, 0.9),
        "lease queue": (20, 0.85),
        "statistics": (8, 0.875),
    }
    rewards = found["rewards"]
    assert (rewards["killed"], rewards["timeouts"], rewards["crashed"], rewards["survived"]) == (6, 2, 1, 1)
    assert list(rewards["modules"]) == ["training/rewards.py", "training/search.py"]


def test_it_fails_below_the_limit_and_when_mutants_did_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_all(tmp_path)
    assert main(["--mutants", str(tmp_path)]) == 0
    assert "| app/statistics/turing.py | 7 | 6 | 0 | 1 | 85.7% |" in capsys.readouterr().out
    write(tmp_path, "training/search.py", 0, 0)
    assert main(["--mutants", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "below 85%: rewards 81.8%\n"
    write(tmp_path, "training/search.py", *[1] * 20, None)
    assert main(["--mutants", str(tmp_path)]) == 1
    assert "1 mutants have no outcome" in capsys.readouterr().err


def test_nothing_at_all_is_no_success(tmp_path: Path) -> None:
    assert main(["--mutants", str(tmp_path)]) == 1


def test_the_committed_page_shows_what_was_counted() -> None:
    groups = json.loads((RESULTS / "mutation.json").read_text())["groups"]
    assert table(groups) in (RESULTS / "mutation.md").read_text()
    assert all(group["caught"] >= LEAST and not group["unknown"] for group in groups.values())
