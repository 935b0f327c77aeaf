"""`.ci/coverage` counts the branches of each package for itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Stands for the coverage package, which would report what this very run has measured so far.
COVERAGE = """
import os, sys
with open(sys.argv[sys.argv.index("-o") + 1], "w") as file:
    file.write(os.environ["REPORT"])
"""


def said(folder: Path, **reached: int) -> "subprocess.CompletedProcess[str]":
    """Run it on a report of one file for each package: so many of 1000 branches, and 7 of 8 lines."""
    files = {
        f"{package}/one.py": {
            "summary": {
                "covered_branches": count,
                "num_branches": 1000,
                "missing_branches": 1000 - count,
                "covered_lines": 7,
                "num_statements": 8,
                "percent_covered": 88.8,
            }
        }
        for package, count in reached.items()
    }
    (folder / "coverage.py").write_text(COVERAGE, encoding="utf-8")
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    return subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "coverage")],
        capture_output=True,
        text=True,
        check=False,
        env={**unmeasured, "PYTHONPATH": str(folder), "REPORT": json.dumps({"files": files})},
    )


@pytest.mark.parametrize(
    ("app", "chatbot", "training", "status"),
    [(950, 950, 900, 0), (949, 1000, 1000, 1), (1000, 949, 1000, 1), (1000, 1000, 899, 1)],
)
def test_each_package_has_its_threshold(tmp_path: Path, app: int, chatbot: int, training: int, status: int) -> None:
    done = said(tmp_path, app=app, chatbot=chatbot, training=training)
    assert (done.returncode, done.stderr != "") == (status, bool(status))
    first = done.stdout.splitlines()[1].split()
    assert first == ["app", str(app), "of", "1000", f"{app / 10:.1f}%", "95%", "7", "of", "8", "87.5%"]


def test_the_modules_that_most_is_missing_from_come_first(tmp_path: Path) -> None:
    done = said(tmp_path, app=990, chatbot=1000, training=970)
    assert [line.split() for line in done.stdout.splitlines()[-2:]] == [["30", "training/one.py"], ["10", "app/one.py"]]
