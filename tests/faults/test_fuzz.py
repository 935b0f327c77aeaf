"""Damaged files of every kind: each is read, or refused in one line. `python -m tests.faults.fuzz` does it for long."""

from pathlib import Path

import pytest

from tests.faults.fuzz import Outcome, attack, attempt
from tests.faults.mutations import sweep
from tests.faults.targets import Target, targets

EXAMPLES = 25
REGIONS = 12


@pytest.fixture(scope="module")
def all_targets(tmp_path_factory: pytest.TempPathFactory) -> list[Target]:
    return targets(tmp_path_factory.mktemp("workshop"))


def test_what_is_whole_is_read(all_targets: list[Target], tmp_path: Path) -> None:
    """Else the damage would be done to what is refused anyway."""
    for target in all_targets:
        for seed in target.seeds:
            assert attempt(target, seed, tmp_path / "file"), target.name


def test_a_bit_flipped_or_the_end_missing_in_every_region(all_targets: list[Target], tmp_path: Path) -> None:
    for target in all_targets:
        for seed in target.seeds:
            for content in [*sweep(seed, REGIONS), b""]:
                attempt(target, content, tmp_path / "file")


def test_mutants(all_targets: list[Target], tmp_path: Path) -> None:
    for number, target in enumerate(all_targets):
        outcome = Outcome()
        attack(target, tmp_path / "file", EXAMPLES, number, tmp_path, outcome)
        assert outcome.faults == {}, target.name
        assert outcome.read + outcome.refused >= EXAMPLES
