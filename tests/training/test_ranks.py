"""Two processes that train as one: by gloo, started by torchrun as users start it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from training.corpus.options import PrepareOptions
from training.corpus.preparation import prepare

ROOT = Path(__file__).parents[2]


def torchrun(count: int, *arguments: str | Path) -> "subprocess.Popen[str]":
    """Start `count` ranks on this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*command, *map(str, arguments)], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def finished(process: "subprocess.Popen[str]") -> str:
    """Wait for the end and return what was said."""
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return said


def kept(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(path, weights_only=True)
    return found


def test_two_ranks_learn_what_one_learns_from_the_same_batches(tmp_path: Path) -> None:
    for count in (2, 1):
        finished(torchrun(count, "-m", "tests.training.steps_on_ranks", tmp_path))
    first, second, alone = (kept(tmp_path / name) for name in ("rank0of2.pt", "rank1of2.pt", "rank0of1.pt"))
    for part, (weights, _, _) in first.items():
        for name, tensor in weights.items():
            assert torch.equal(tensor, second[part][0][name]), (part, name)
    for part, (_, figures, likelihoods) in alone.items():
        if part == "with D":
            continue  # D's own draws are each rank's
        # Not the weights themselves: Adam makes whole steps of the rounding in a bias of keys, whose gradient is zero.
        torch.testing.assert_close(first[part][2], likelihoods, atol=2e-4, rtol=1e-3, msg=part)
        for figure in ("nll", "kl", "gradient_norm", "tokens"):
            for here, there in zip(first[part][1], figures, strict=True):
                if figure in there:
                    assert here[figure] == pytest.approx(there[figure], rel=1e-3, abs=1e-5), (part, figure)
    changed = [n for n, t in alone["with D"][0].items() if not torch.equal(t, alone["step loo recurrent"][0].get(n, t))]
    assert changed


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("ranks")
    animals, places = ("cat", "dog", "bird", "fish"), ("house", "garden", "street", "school", "car")
    lines = [
        json.dumps({"turns": [f"Is my {a} in your {p}? {i}", f"No, the {a} is in the {p}.", f"Thanks for my {a}!"]})
        for i in range(8)
        for a in animals
        for p in places
    ]
    (directory / "talk.jsonl").write_text("\n".join(lines), encoding="utf-8")
    options = PrepareOptions(out=directory / "data", vocabulary=300, valid=0.2, test=0.1)
    prepare([str(directory / "talk.jsonl")], options, lambda stage, done, total: None)
    return directory / "data"


def rows_of(run: Path) -> list[dict[str, Any]]:
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def test_a_whole_run_on_two_ranks_leaves_one_runs_files(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = finished(torchrun(2, "-m", "training", "cseqgan", "--data", data, "--out", out, "--preset", "toy"))
    assert said.count("The best model is in") == 1
    rows = rows_of(out)
    assert [row["stage"] for row in rows] == sorted(
        (r["stage"] for r in rows), key=["mle", "discriminator", "adversarial"].index
    )
    assert len({(row["stage"], row["step"]) for row in rows}) == len(rows)
    assert rows[-1]["step"] == 10
    assert (out / "bundle" / "config.json").is_file()
    again = torchrun(2, "-m", "training", "cseqgan", "--data", data, "--out", out, "--preset", "toy")
    refused, _ = again.communicate(timeout=120)
    assert again.returncode != 0
    assert "is not empty" in refused


def test_a_killed_rank_ends_the_job_and_another_number_of_ranks_goes_on(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    long = ["--set", "mle.steps=400", "--set", "mle.evaluate_every=200"]
    job = torchrun(2, "-m", "training", "mle", "--data", data, "--out", out, "--preset", "toy", *long)
    end = time.monotonic() + 120
    while not (out / "state.pt").is_file() and job.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    assert job.poll() is None
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(job.pid)], capture_output=True, text=True, check=True)
    os.kill(max(map(int, listed.stdout.split())), signal.SIGKILL)
    said, _ = job.communicate(timeout=120)
    assert job.returncode != 0
    assert re.search(r"Signal 9 \(SIGKILL\)", said)
    reached = rows_of(out)[-1]["step"]
    assert reached < 400
    finished(torchrun(1, "-m", "training", "--resume", "--out", out))
    rows = rows_of(out)
    assert rows[-1]["step"] == 400
    steps = [row["step"] for row in rows]
    assert steps == sorted(set(steps))


def test_a_batch_that_ranks_cannot_share_is_an_error(data: Path, tmp_path: Path) -> None:
    out, odd = tmp_path / "run", ["--set", "mle.batch=31"]
    job = torchrun(2, "-m", "training", "mle", "--data", data, "--out", out, "--preset", "toy", *odd)
    said, _ = job.communicate(timeout=120)
    assert job.returncode != 0
    assert "batches of 31 pairs cannot be shared by 2 ranks" in said
