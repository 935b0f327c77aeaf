"""Batches outlive the processes that work at them: killed without a word, and nobody can tell from the files."""

from pathlib import Path

import pytest

from tests.system.batch import FIXED, begin, check, client_of, lines_of, until_answered
from tests.system.conftest import Replicas, Serve

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "recurrent").symlink_to(GOLDEN / "recurrent")
    return folder


@pytest.mark.parametrize("count", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_killed_half_way_a_batch_is_finished_as_if_nothing_had_happened(
    serve: Serve, models: Path, tmp_path: Path, count: int
) -> None:
    lines = lines_of(count)
    with serve(models, tmp_path / "undisturbed", **FIXED) as service, client_of(service) as client:
        expected = check(client, begin(client, lines), count)
    assert len({text for _, text in expected}) > 10

    state, variables = tmp_path / "killed", {**FIXED, "REJOINDER_TAKEOVER_SECONDS": "1.5"}
    answered = 0
    with serve(models, state, **variables) as service, client_of(service) as client:
        batch_id = begin(client, lines)
        until_answered(client, batch_id, 1)
        service.process.kill()
        service.process.wait(10)
    if count > 200:  # and again, and again
        for part in (0.3, 0.7):
            with serve(models, state, **variables) as service, client_of(service) as client:
                answered = until_answered(client, batch_id, int(part * count))
                service.process.kill()
                service.process.wait(10)
    with serve(models, state, **variables) as service, client_of(service) as client:
        before = client.batches.retrieve(batch_id)
        assert before.status in ("validating", "in_progress")
        assert answered < count
        assert check(client, batch_id, count) == expected


@pytest.mark.slow
def test_of_two_replicas_one_is_killed_and_the_other_finishes(
    serve: Serve, two_replicas: Replicas, models: Path, tmp_path: Path
) -> None:
    """Four batches, two made at each replica; the first replica dies while it is at some of them."""
    count = 1500
    lines = lines_of(count)
    with serve(models, tmp_path / "undisturbed", **FIXED) as service, client_of(service) as client:
        expected = check(client, begin(client, lines), count)

    with two_replicas(**FIXED) as replicas, client_of(replicas[0]) as first, client_of(replicas[1]) as second:
        ids = [begin(client, lines) for client in (first, second, first, second)]
        for batch_id in ids:
            until_answered(second, batch_id, 64)
        replicas[0].process.kill()
        replicas[0].process.wait(10)
        left = [second.batches.retrieve(batch_id).status for batch_id in ids]
        assert "in_progress" in left
        for batch_id in ids:
            assert check(second, batch_id, count) == expected
