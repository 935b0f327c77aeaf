"""`rejoinder evaluate` from the command line: two toy runs, one report."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SMALL = ("--contexts", "24", "--best-of", "2", "--draws", "50", "--device", "cpu")


@pytest.fixture(scope="module")
def report(rejoinder: Callable[..., Any], runs: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluated") / "report"
    done = rejoinder("evaluate", f"MLE={runs / 'mle'}", runs / "cseqgan", "--data", prepared, "--out", out, *SMALL)
    assert done.returncode == 0, done.stderr
    assert "of equal diversity" in done.stdout or "Nothing can be said" in done.stdout
    assert "one training seed" in done.stdout
    return out


def test_the_report_has_a_page_numbers_and_a_table(report: Path) -> None:
    tree = json.loads((report / "report.json").read_text(encoding="utf-8"))
    assert [system["name"] for system in tree["systems"]] == ["MLE", "cseqgan", "cseqgan + best of 2 by D"]
    assert len(tree["rows"]) == 2 * 11 + 5 + 2
    with (report / "report.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(tree["rows"])
    page = (report / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") > 6
    assert "http" not in page.replace("http://www.w3.org/", "").replace("https://github", "")
    assert "cseqgan + best of 2 by D" in page
    assert {run["run"] for run in tree["training"]} == {"mle", "cseqgan"}


def test_a_second_call_gives_the_same_report_from_what_is_kept(
    rejoinder: Callable[..., Any], report: Path, runs: Path, prepared: Path
) -> None:
    before = json.loads((report / "report.json").read_text(encoding="utf-8"))
    arguments = [f"MLE={runs / 'mle'}", runs / "cseqgan", "--data", prepared, "--out", report]
    done = rejoinder("evaluate", *arguments, *SMALL)
    assert done.returncode == 0, done.stderr
    after = json.loads((report / "report.json").read_text(encoding="utf-8"))
    assert {**after, "created": ""} == {**before, "created": ""}
    other = rejoinder("evaluate", *arguments, *SMALL, "--seed", "1")
    assert other.returncode == 1
    assert "seed differ" in other.stderr


@pytest.mark.parametrize(
    ("bundle", "more", "status", "expected"),
    [
        ("nowhere", (), 1, "no such bundle"),
        ("{mle}", ("--baseline", "GAN"), 2, "no system is called 'GAN'"),
    ],
)
def test_bad_calls_end_with_one_line(
    rejoinder: Callable[..., Any], runs: Path, prepared: Path, tmp_path: Path,
    bundle: str, more: tuple[str, ...], status: int, expected: str,
) -> None:  # fmt: skip
    named = bundle.format(mle=runs / "mle")
    done = rejoinder("evaluate", named, "--data", prepared, "--out", tmp_path / "out", *more)
    assert (done.returncode, done.stdout) == (status, "")
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
