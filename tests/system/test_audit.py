"""`.ci/audit` tells apart: nothing known, something known, accepted, and nobody to ask."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CI = Path(__file__).parents[2] / ".ci"
FAULT = {"id": "PYSEC-0000-1", "fix_versions": ["3.0"], "aliases": []}
ANSWERS: dict[str, Any] = {
    "clean": [{"name": "jinja2", "version": "2.4", "vulns": []}],
    "faulty": [{"name": "jinja2", "version": "2.4", "vulns": [FAULT]}, {"name": "x", "skip_reason": "not found"}],
    "unknown": [{"name": "jinja2", "skip_reason": "Dependency not found on PyPI"}],
}
# Stands for pip-audit, whose services cannot be reached in tests: reports what the service would, exceptions left out.
PIP_AUDIT = """
import json, os, sys
options = sys.argv[1:]
answer = json.loads(os.environ["ANSWERS"])[options[options.index("--service") + 1]]
if answer is None:
    sys.exit(1)
ignored = [options[i + 1] for i, name in enumerate(options) if name == "--ignore-vuln"]
for one in answer:
    one["vulns"] = [fault for fault in one.get("vulns", []) if fault["id"] not in ignored]
with open(options[options.index("--output") + 1], "w") as file:
    json.dump({"dependencies": answer}, file)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pip_audit.py").write_text(PIP_AUDIT)
    shutil.copy(CI / "audit", tmp_path)
    (tmp_path / "audit-exceptions.txt").write_text("# none\n")
    return tmp_path


def audit(folder: Path, pypi: str | None, osv: str | None = None) -> "subprocess.CompletedProcess[str]":
    answers = {"pypi": ANSWERS.get(pypi or ""), "osv": ANSWERS.get(osv or "")}
    environment = {**os.environ, "PYTHONPATH": str(folder), "ANSWERS": json.dumps(answers)}
    command = [sys.executable, str(folder / "audit"), str(folder / "pinned.txt")]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)


@pytest.mark.parametrize(
    ("pypi", "osv", "status"),
    [("clean", None, 0), ("faulty", "clean", 1), (None, "faulty", 1), ("unknown", "clean", 0), ("unknown", None, 2)],
)
def test_what_it_says(folder: Path, pypi: str | None, osv: str | None, status: int) -> None:
    done = audit(folder, pypi, osv)
    assert (done.returncode, done.stderr) == (status, "")
    assert ("jinja2 2.4 has PYSEC-0000-1; fixed in 3.0" in done.stdout) == (status == 1)


def test_an_exception_has_a_reason(folder: Path) -> None:
    exceptions = folder / "audit-exceptions.txt"
    exceptions.write_text("PYSEC-0000-1 the template loader is not used here\n")
    done = audit(folder, "faulty")
    assert (done.returncode, "1 accepted" in done.stdout) == (0, True)
    exceptions.write_text("PYSEC-0000-1\n")
    done = audit(folder, "faulty")
    assert (done.returncode, done.stderr) == (1, "audit-exceptions.txt: PYSEC-0000-1 has no reason\n")
