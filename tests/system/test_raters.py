"""Many raters over HTTP against real services that are killed with SIGKILL: exactly k judgements for each item."""

from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.database import open_engine
from benchmarks.raters import Load, Outcome, run
from tests.postgres import new_database

SMALL = Load(raters=10, items=30, k=3, abandoned=0.1, lease_seconds=2, workers=2, kill_every=3.0, seed=3)
FULL = Load(raters=50, items=500, k=3, abandoned=0.1, lease_seconds=3, workers=3, kill_every=5.0, seed=1)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty database of each kind; `tmp_path` is the services' state."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'rejoinder.db'}"
    return new_database(request.getfixturevalue("postgres"))


def check(load: Load, url: str, state: Path) -> Outcome:
    outcome, progress = run(load, None if url.startswith("sqlite") else url, state)
    assert outcome.errors == []
    assert progress["complete"]
    assert progress["open_leases"] == 0
    assert outcome.killed > 0
    assert outcome.abandoned > 0
    engine = open_engine(url)
    with engine.connect() as connection:

        def rows(statement: str) -> list[tuple[object, ...]]:
            return [tuple(row) for row in connection.execute(sa.text(statement))]

        items = rows("select id, done, target, status from item order by id")
        judgements = rows("select id, assignment_id, rater_id, supersedes from judgement")
        assignments = rows(
            "select a.id, a.item_id, a.rater_id, a.lease_token, i.context_id from assignment a"
            " join item i on i.id = a.item_id where a.state = 'done'"
        )
    engine.dispose()
    # Exactly k for each item, by the counter and by the rows.
    assert {(done, target, status) for _, done, target, status in items} == {(load.k, load.k, "done")}
    assert Counter(item for _, item, _, _, _ in assignments) == {item: load.k for item, *_ in items}
    # One judgement for each finished assignment, by the rater whose it is, and none that supersedes another.
    assert {(a, r) for _, a, r, _ in judgements} == {(a, r) for a, _, r, _, _ in assignments}
    assert len(judgements) == len(assignments) == load.k * load.items
    assert {supersedes for *_, supersedes in judgements} == {None}
    # What a rater was told is stored is stored; nobody met a context twice.
    stored = {lease: a for a, _, _, lease, _ in assignments}
    by_assignment = {a: j for j, a, _, _ in judgements}
    assert outcome.acknowledged == {lease: by_assignment[a] for lease, a in stored.items()}
    assert len({(rater, context) for _, _, rater, _, context in assignments}) == len(assignments)
    return outcome


def test_a_few_raters_with_killed_workers(url: str, tmp_path: Path) -> None:
    check(SMALL, url, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_fifty_raters_five_hundred_items_with_killed_workers(url: str, tmp_path: Path) -> None:
    outcome = check(FULL, url, tmp_path)
    assert outcome.retries > 0
