"""Contexts with human replies, written from a prepared split as text."""

import json
from pathlib import Path

import pytest

from training.corpus.contexts import export_contexts
from training.corpus.errors import CorpusError
from training.corpus.options import PrepareOptions
from training.corpus.preparation import prepare


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contexts")
    source = folder / "dialogues.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for i in range(60):
            turns = [f"问题 {i}: do you like it?", f"yes {i}", f"why {i}?", f"because {i} 🙂"]
            file.write(json.dumps({"turns": turns}, ensure_ascii=False) + "\n")
    options = PrepareOptions(out=folder / "data", vocabulary=300, valid=0.2, test=0.2)
    prepare([str(source)], options, lambda *_: None)
    return folder / "data"


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_line_is_a_context_with_the_reply_that_followed(data: Path, tmp_path: Path) -> None:
    count = export_contexts(data, tmp_path / "c.jsonl", split="test", limit=1000, seed=0)
    rows = read(tmp_path / "c.jsonl")
    assert len(rows) == count > 3
    numbers = set()
    for row in rows:
        turns = row["turns"]
        assert isinstance(turns, list)
        number = turns[0].split(":")[0].removeprefix("问题 ")
        dialogue = [f"问题 {number}: do you like it?", f"yes {number}", f"why {number}?", f"because {number} 🙂"]
        assert turns == dialogue[: len(turns)]
        assert row["reply"] == dialogue[len(turns)]
        assert row["split"] == "test"
        assert str(row["source"]).startswith("data, pair ")
        numbers.add(number)
    assert len(numbers) == count  # one from each dialogue at most
    assert len({len(row["turns"]) for row in rows}) > 1  # type: ignore[arg-type]


def test_more_of_a_dialogue_come_after_one_of_every_other(data: Path, tmp_path: Path) -> None:
    one = export_contexts(data, tmp_path / "one", split="train", limit=1000, seed=0)
    assert export_contexts(data, tmp_path / "all", split="train", limit=1000, seed=0, each=9) == 3 * one
    rows = read(tmp_path / "all")
    assert rows[:one] == read(tmp_path / "one")
    assert len({str(row["source"]) for row in rows}) == 3 * one


def test_the_seed_chooses(data: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert export_contexts(data, tmp_path / name, split="train", limit=5, seed=seed) == 5
    assert read(tmp_path / "a") == read(tmp_path / "b") != read(tmp_path / "c")


def test_faults_are_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="unknown split 'dev'"):
        export_contexts(data, tmp_path / "x", split="dev", limit=5, seed=0)
    with pytest.raises(CorpusError, match="not a prepared dataset"):
        export_contexts(tmp_path, tmp_path / "x", split="test", limit=5, seed=0)
    with pytest.raises(CorpusError, match="cannot be written"):
        export_contexts(data, tmp_path / "none" / "x", split="test", limit=5, seed=0)
    assert list(tmp_path.iterdir()) == []
