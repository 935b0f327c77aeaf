"""Damaged files of every kind: each is read, or refused in one line. `python -m tests.faults.fuzz` does it for long."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.faults.fuzz import Outcome, attack, attempt
from tests.faults.mutations import sweep
from tests.faults.targets import GOLDEN, Target, targets

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


def found() -> Iterator[tuple[str, bytes]]:
    """Yield the target and the content of each fault that fuzzing has found: all of them escaped as other errors."""
    nested = b"[" * 5000
    yield "log of a run", nested
    yield "log of a run", b'{"step": 1, "stage": "mle", "nll": ' + b"1" * 400 + b"}"  # no float holds it
    yield "config of a run", b'{"config": ' + nested
    yield "journal of a file of replies", nested + b"\n"
    yield "corpus csv", b'"two\nlines",answer\r\na,b\r\n'  # quoted in the error, on two lines
    for name in ("tokens", "turns", "dialogues", "pairs"):
        yield f"dataset train/{name}.npy", b""
        yield f"dataset train/{name}.npy", b"\x93NUMPY\x01\x00v\x00" + b"(" * 118
    for value in (pa.array([2**62], pa.timestamp("us")), pa.array([-(2**62)], pa.timestamp("us"))):
        yield "contexts .parquet to .jsonl", table({"text": pa.array(["a"]), "when": value})
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\x01\0\0\0"), pa.py_buffer(b"\x80"))
    yield "contexts .parquet to .csv", table({"text": broken})
    yield "contexts .parquet to .csv", b"PAR1" + b"\xff" * 40 + b"PAR1"
    tokenizer = json.loads((GOLDEN / "recurrent" / "tokenizer.json").read_bytes())
    vocabulary = tokenizer["model"]["vocab"]
    last = max(vocabulary, key=lambda token: int(vocabulary[token]))
    tokenizer["model"]["merges"].pop()
    vocabulary["\u016c"] = vocabulary.pop(last)  # stands for no byte
    yield "bundle recurrent/tokenizer.json", json.dumps(tokenizer).encode()
    vocabulary["!!"] = vocabulary.pop("\u016c") + 7  # an id that the model has no row for
    yield "bundle recurrent/tokenizer.json", json.dumps(tokenizer).encode()


def table(columns: dict[str, object]) -> bytes:
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue().to_pybytes())


@pytest.mark.parametrize(("name", "content"), [pytest.param(*one, id=f"{i}-{one[0]}") for i, one in enumerate(found())])
def test_what_was_found_is_told_in_one_line_or_read(
    all_targets: list[Target], tmp_path: Path, name: str, content: bytes
) -> None:
    [target] = [one for one in all_targets if one.name == name]
    read = attempt(target, content, tmp_path / "file")
    assert read == (name == "log of a run")  # pages pass over what they cannot read


def test_mutants(all_targets: list[Target], tmp_path: Path) -> None:
    for number, target in enumerate(all_targets):
        outcome = Outcome()
        attack(target, tmp_path / "file", EXAMPLES, number, tmp_path, outcome)
        assert outcome.faults == {}, target.name
        assert outcome.read + outcome.refused >= EXAMPLES
