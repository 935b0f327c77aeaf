"""What was answered once is not asked again, and comes back as it was."""

import json
from pathlib import Path
from typing import Any

import pytest

from training.evaluation.cache import Cache, fingerprint


def test_an_answer_is_made_once_and_depends_on_its_key(tmp_path: Path) -> None:
    asked: list[int] = []

    def ask(number: int) -> Any:
        return Cache(tmp_path).get("squares", {"of": number}, lambda: (asked.append(number), {"is": number**2})[1])

    assert [ask(3), ask(4), ask(3)] == [{"is": 9}, {"is": 16}, {"is": 9}]
    assert asked == [3, 4]


def test_a_fresh_answer_is_what_a_kept_one_will_be(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    fresh = cache.get("a", {}, lambda: {"pair": (1, 0.1 + 0.2), "text": "猫"})
    assert fresh == cache.get("a", {}, lambda: pytest.fail("asked again")) == {"pair": [1, 0.1 + 0.2], "text": "猫"}


@pytest.mark.parametrize("damage", ["", "{", '{"key": {"of": 2}, "answer": 5}', "[]"])
def test_a_damaged_or_foreign_file_is_made_again(tmp_path: Path, damage: str) -> None:
    cache = Cache(tmp_path)
    cache.get("a", {"of": 1}, lambda: 7)
    cache.path("a", {"of": 1}).write_text(damage, encoding="utf-8")
    assert cache.get("a", {"of": 1}, lambda: 8) == 8
    assert json.loads(cache.path("a", {"of": 1}).read_text(encoding="utf-8"))["answer"] == 8


def test_nothing_is_kept_of_what_fails_or_is_not_finite(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    def fail() -> None:
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        cache.get("a", {}, fail)
    with pytest.raises(ValueError, match="JSON"):
        cache.get("a", {}, lambda: float("nan"))
    assert not list(tmp_path.rglob("*.json"))


def test_fingerprints_tell_lists_apart() -> None:
    assert len({fingerprint(["ab", "c"]), fingerprint(["a", "bc"]), fingerprint([["ab", "c"]]), fingerprint([])}) == 4
