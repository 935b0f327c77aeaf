"""The everyday conversations that come with this project: whole, varied, without what the bundles are tried on."""

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from training.corpus.formats import read
from training.corpus.options import PrepareOptions
from training.corpus.preparation import prepare
from training.corpus.records import RawDialogue
from training.corpus.sources import EVERYDAY, resolve
from training.corpus.tables import TableColumns

ROOT = Path(__file__).parents[3]


@cache
def conversations(word: str) -> list[list[str]]:
    """Return the turns of each conversation."""
    (file,) = resolve([word])
    records = list(read(file, TableColumns()))
    assert all(isinstance(record, RawDialogue) for record in records)
    return [[message.text for message in record.messages] for record in records if isinstance(record, RawDialogue)]


@pytest.mark.parametrize("word", EVERYDAY)
def test_every_turn_is_one_that_somebody_could_say(word: str) -> None:
    talks = conversations(word)
    turns = [turn for talk in talks for turn in talk]
    assert len(talks) > 5_000
    assert min(map(len, talks)) == 2
    assert max(map(len, turns)) <= 160
    assert not [turn for turn in turns if turn != turn.strip() or re.match(r"[AB甲乙][:：]|[-*#]", turn)]
    chinese = sum(bool(re.search("[\u4e00-\u9fff]", turn)) for turn in turns) / len(turns)
    assert chinese > 0.99 if word == "everyday-zh" else chinese == 0


@pytest.mark.parametrize("word", EVERYDAY)
def test_nothing_is_said_too_often(word: str) -> None:
    talks = conversations(word)
    replies = Counter(turn for talk in talks for turn in talk[1:])
    assert replies.most_common(1)[0][1] < 0.002 * replies.total()
    assert len({tuple(talk) for talk in talks}) == len(talks)


@pytest.mark.parametrize("word", EVERYDAY)
def test_no_line_that_the_bundles_are_tried_on_stands_in_it(word: str) -> None:
    turns = {turn.casefold() for talk in conversations(word) for turn in talk}
    scripts = sorted((ROOT / "bundles").glob(f"talk-{word[-2:]}*.txt"))
    assert scripts
    for script in scripts:
        assert not turns & {line.casefold() for line in script.read_text(encoding="utf-8").splitlines()}


def test_it_is_a_source_like_any_other_with_its_licence(tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("Where is my parcel?\nIt leaves tomorrow.\n", encoding="utf-8")
    options = PrepareOptions(tmp_path / "data", vocabulary=400, license="our own")
    summary = prepare([str(own), "everyday-en"], options)
    assert summary.document["licenses"].keys() == {"our own", "CC0-1.0"}
    assert summary.document["origins"].keys() == {"own.txt", "everyday-en"}
    assert summary.rejected == 0
    assert summary.pairs("test") > 300


def test_a_format_that_is_named_makes_the_word_a_path_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("everyday-en").write_text("hello\nhi\n", encoding="utf-8")
    assert resolve(["everyday-en"], "text")[0].path == Path("everyday-en")
