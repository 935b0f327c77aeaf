"""The figures of `dataset.json`."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np

from training.corpus.dataset import Split
from training.corpus.description import describe_file, describe_frequent, describe_split


def test_percentiles_are_lengths_that_hold_at_least_that_share() -> None:
    # Replies of 1 to 10 ids, each after a context of one id.
    turns = np.cumsum([0] + [length for reply in range(1, 11) for length in (1, reply)])
    pairs = np.array([(turn, turn + 1) for turn in range(0, 20, 2)])
    found = describe_split(Split(np.zeros(turns[-1], np.uint16), turns, np.arange(0, 21, 2), pairs))
    assert found["reply_length"] == {"mean": 5.5, "p50": 6, "p90": 10, "p95": 10, "p99": 10, "max": 10}
    assert found["context_length"]["max"] == 1
    assert (found["dialogues"], found["turns"], found["pairs"], found["tokens"]) == (10, 20, 10, 65)


def test_an_empty_split_has_no_lengths() -> None:
    none = np.zeros(1, np.int64)
    found = describe_split(Split(np.zeros(0, np.uint16), none, none, np.zeros((0, 2), np.int64)))
    assert (found["pairs"], found["reply_length"]) == (0, {})


def test_equally_frequent_replies_stand_in_one_order() -> None:
    found = describe_frequent(Counter({"b": 1, "a": 1, "c": 2}))
    assert [reply["text"] for reply in found["replies"]] == ["c", "a", "b"]
    assert describe_frequent(Counter(map(str, range(40))))["share"] == 0.5


def test_a_file_is_known_by_size_and_checksum(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert describe_file(tmp_path / "a") == {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}
