"""Killed with SIGKILL at random moments, again and again: nobody can tell from what comes out at the end.

Rating under kills is `tests/system/test_raters.py`; here is its longest form.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from benchmarks.raters import Load
from tests.faults.test_disk import environment, undisturbed, weights
from tests.system.batch import FIXED, begin, check, client_of, lines_of, until_answered
from tests.system.conftest import PROGRAM, Service, call
from tests.system.test_raters import check as check_raters
from tests.system.test_raters import url

__all__ = ["undisturbed", "url"]

Serve = Callable[..., AbstractContextManager[Service]]

few_or_fifty = pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.slow)])

ADVERSARIAL = (
    *("--preset", "toy", "--set", "save_every=3", "--set", "mle.evaluate_every=20"),
    *("--set", "discriminator.evaluate_every=10"),
    *("--set", "adversarial.steps=30", "--set", "adversarial.evaluate_every=10"),
)


@pytest.mark.timeout(3600)
@few_or_fifty
def test_training_killed_anywhere_gives_the_weights_of_a_run_that_was_not(
    prepared: Path, tmp_path: Path, kills: int
) -> None:
    """All stages of an adversarial run; a kill may come while a state, bundle or log is written, or at the start."""
    expected = tmp_path / "undisturbed"
    steps = 60 if kills == 3 else 200  # long enough to die so often: about every fourth step
    settings = (*ADVERSARIAL, "--set", f"mle.steps={steps}", "--set", f"discriminator.steps={steps // 2}")
    done = call("train", "cseqgan", "--data", prepared, "--out", expected, *settings)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "killed"
    rng = random.Random(kills)
    killed = 0
    command = ["train", "cseqgan", "--data", str(prepared), "--out", str(out), *settings]
    while killed < kills:
        with subprocess.Popen(
            [*PROGRAM, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(), text=True
        ) as process:
            moving = (out / "metrics.jsonl").stat().st_mtime_ns if (out / "metrics.jsonl").exists() else 0
            end = time.monotonic() + (120 if rng.random() < 0.8 else 0)
            # Four in five once it has begun to learn: else most would die while they import.
            while process.poll() is None and time.monotonic() < end:
                if (out / "metrics.jsonl").exists() and (out / "metrics.jsonl").stat().st_mtime_ns > moving:
                    break
                time.sleep(0.02)
            time.sleep(rng.uniform(0, 0.3))
            if process.poll() is not None:
                assert process.returncode == 0, process.stderr.read() if process.stderr else ""
                break
            process.kill()
        killed += 1
        if (out / "config.json").exists():
            command = ["train", "--resume", "--out", str(out)]
    assert killed >= min(kills, 3)
    last = call(*command)
    assert last.returncode == 0, last.stderr
    assert weights(out) == weights(expected)
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    print(f"killed {killed} times")  # noqa: T201


@pytest.mark.timeout(3600)
@few_or_fifty
def test_a_batch_killed_anywhere_has_each_line_once_and_the_same_texts(
    serve: Serve, models: Path, tmp_path: Path, kills: int
) -> None:
    count = 70 * kills
    lines = lines_of(count)
    with serve(models, tmp_path / "undisturbed", **FIXED) as service, client_of(service) as client:
        expected = check(client, begin(client, lines), count)
    state, rng = tmp_path / "killed", random.Random(kills)
    variables = {**FIXED, "REJOINDER_TAKEOVER_SECONDS": "1.5", "REJOINDER_BATCH_SIZE": "2"}
    # After so many lines, not after so many seconds: a fast machine would be done before it is killed. One in five is
    # killed as it starts.
    answered = sorted(rng.choices(range(1, count * 4 // 5), k=kills))
    batch_id = ""
    killed = 0
    for least in answered:
        with serve(models, state, **variables) as service, client_of(service) as client:
            if not batch_id:
                batch_id = begin(client, lines)
            if rng.random() < 0.8:
                until_answered(client, batch_id, least)
            time.sleep(rng.uniform(0, 0.05))
            if client.batches.retrieve(batch_id).status == "completed":
                break
            os.kill(service.process.pid, signal.SIGKILL)
            service.process.wait(10)
            killed += 1
    with serve(models, state, **variables) as service, client_of(service) as client:
        assert check(client, batch_id, count) == expected
    assert killed >= min(kills, 3)
    print(f"killed {killed} times")  # noqa: T201


FIFTY = Load(
    raters=30, items=250, k=3, abandoned=0.05, lease_seconds=3, think=0.5, workers=3, kill_every=0.5, kills=50, seed=9
)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_rating_with_fifty_kills(url: str, tmp_path: Path) -> None:
    outcome = check_raters(FIFTY, url, tmp_path)
    print(f"killed {outcome.killed} times, {outcome.retries} retries")  # noqa: T201
    assert outcome.killed >= 50
