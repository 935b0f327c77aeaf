"""Files of contexts in, files of replies out: formats, faults with their line, and going on after an interruption."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chatbot.contexts import ContextError, read_contexts
from chatbot.errors import RejoinderError, RequestError
from chatbot.files import answer_file
from chatbot.reply_files import write_rows
from chatbot.request import Answer, Reply, ReplyRequest

GOLDEN = Path(__file__).parents[1] / "golden" / "recurrent"


@dataclass
class Echo:
    """Answers in pairs, the later one first; can break down after so many answers."""

    name: str = "echo"
    digest: str = "d" * 64
    precision: str = "fp32"
    most: int = 10**9
    asked: list[int] = field(default_factory=list)

    def check(self, request: ReplyRequest) -> None:
        """Accept all."""

    def answer_each(self, requests: Iterable[ReplyRequest]) -> Iterator[tuple[int, Answer]]:
        """Answer by echo."""
        held = list(enumerate(requests))
        for index, request in [pair for i in range(0, len(held), 2) for pair in held[i : i + 2][::-1]]:
            if len(self.asked) == self.most:
                raise KeyboardInterrupt
            self.asked.append(request.seed)
            replies = tuple(Reply(f"{request.turns[-1]}/{c}", "stop", 3, 0.5) for c in range(request.n))
            yield index, Answer(replies, 1, 1)


def quiet(stage: str, done: int, total: int | None) -> None:
    """Show nothing."""


def run(source: Path, target: Path, bot: Echo | None = None, **template: Any) -> int:
    echo = bot or Echo()
    return answer_file(GOLDEN, lambda precision: echo, source, target, ReplyRequest((), **template), quiet)


def rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        return list(parquet.read_table(path).to_pylist())
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file)) if path.suffix == ".csv" else [json.loads(line) for line in file]


@pytest.fixture
def contexts(tmp_path: Path) -> Callable[[str], Path]:
    """Give a function that writes five contexts in a format."""
    values = [{"id": i, "turns": ['好, "you"\n', f"turn {i}"], "note": None if i == 2 else f"n{i}"} for i in range(5)]

    def write(ending: str) -> Path:
        path = tmp_path / f"contexts{ending}"
        if ending == ".jsonl":
            path.write_text("\n\n".join(json.dumps(value, ensure_ascii=False) for value in values), encoding="utf-8")
        elif ending == ".csv":
            with path.open("w", encoding="utf-8-sig", newline="") as file:
                writer = csv.DictWriter(file, list(values[0]))
                writer.writeheader()
                writer.writerows({**value, "turns": json.dumps(value["turns"])} for value in values)
        else:
            pa = pytest.importorskip("pyarrow")
            pytest.importorskip("pyarrow.parquet").write_table(pa.Table.from_pylist(values), path)
        return path

    return write


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("becomes", [".jsonl", ".csv", ".parquet"])
def test_every_format_becomes_every_format(
    contexts: Callable[[str], Path], tmp_path: Path, ending: str, becomes: str
) -> None:
    target = tmp_path / f"replies{becomes}"
    assert run(contexts(ending), target, n=2, seed=7) == 5
    found = rows(target)
    assert [int(row["id"]) for row in found] == list(range(5))
    assert [int(row["seed"]) for row in found] == list(range(7, 12))
    assert [row["note"] or None for row in found] == ["n0", "n1", None, "n3", "n4"]
    replies = [json.loads(row["replies"]) if becomes == ".csv" else row["replies"] for row in found]
    assert [[reply["text"] for reply in one] for one in replies] == [[f"turn {i}/0", f"turn {i}/1"] for i in range(5)]
    assert {reply["discriminator_score"] for one in replies for reply in one} == {0.5}
    if becomes == ".csv":
        assert [row["reply"] for row in found] == [f"turn {i}/0" for i in range(5)]
        assert json.loads(found[0]["turns"]) == ['好, "you"\n', "turn 0"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"contexts{ending}", target.name])


def test_an_interrupted_run_goes_on_where_it_was(contexts: Callable[[str], Path], tmp_path: Path) -> None:
    """After answers to lines 1, 0 and 3, the journal has lines 0 and 1; the third came early and is done again."""
    source, target = contexts(".jsonl"), tmp_path / "replies.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(source, target, Echo(most=3))
    assert not target.exists()
    journal = tmp_path / ".replies.jsonl.partial"
    assert journal.read_bytes().count(b"\n") == 3
    with journal.open("ab") as file:
        file.write(b'{"half a')  # and killed in the middle of a line
    again = Echo()
    assert run(source, target, again) == 5
    assert sorted(again.asked) == [2, 3, 4]
    expected = tmp_path / "undisturbed.jsonl"
    run(source, expected)
    assert target.read_bytes() == expected.read_bytes()
    assert not journal.exists()


def test_the_precision_of_an_interrupted_run_is_kept(contexts: Callable[[str], Path], tmp_path: Path) -> None:
    source, target = contexts(".jsonl"), tmp_path / "replies.jsonl"
    asked = []

    def load(precision: str) -> Echo:
        asked.append(precision)
        return Echo(precision="int8", most=1 if len(asked) == 1 else 99)

    with pytest.raises(KeyboardInterrupt):
        answer_file(GOLDEN, load, source, target, ReplyRequest(()), quiet)
    answer_file(GOLDEN, load, source, target, ReplyRequest(()), quiet)
    assert asked == ["auto", "int8"]
    assert {row["precision"] for row in rows(target)} == {"int8"}


def test_what_changed_since_is_named_and_nothing_is_mixed(contexts: Callable[[str], Path], tmp_path: Path) -> None:
    source, target = contexts(".jsonl"), tmp_path / "replies.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(source, target, Echo(most=3))
    journal = (tmp_path / ".replies.jsonl.partial").read_bytes()
    with pytest.raises(RejoinderError, match=r"\.replies\.jsonl\.partial: .*changed: seed, n\."):
        run(source, target, seed=1, n=2)
    with pytest.raises(RejoinderError, match="changed: bundle"):
        answer_file(GOLDEN.with_name("transformer"), lambda p: Echo(), source, target, ReplyRequest(()), quiet)
    with pytest.raises(RejoinderError, match="changed: precision"):
        answer_file(GOLDEN, lambda p: Echo(precision="bf16"), source, target, ReplyRequest(()), quiet, precision="bf16")
    source.write_text(source.read_text(encoding="utf-8").replace("turn 4", "turn four"), encoding="utf-8")
    with pytest.raises(RejoinderError, match=r"changed: input\. Run it as it was to go on, or delete that file"):
        run(source, target)
    assert (tmp_path / ".replies.jsonl.partial").read_bytes() == journal


def test_a_journal_of_something_else_is_left_alone(contexts: Callable[[str], Path], tmp_path: Path) -> None:
    journal = tmp_path / ".replies.jsonl.partial"
    journal.write_text("my notes\n", encoding="utf-8")
    with pytest.raises(RejoinderError, match="not a journal"):
        run(contexts(".jsonl"), tmp_path / "replies.jsonl")
    assert journal.read_text(encoding="utf-8") == "my notes\n"


def test_two_runs_do_not_write_one_file(contexts: Callable[[str], Path], tmp_path: Path) -> None:
    source, target = contexts(".jsonl"), tmp_path / "replies.jsonl"

    def second(stage: str, done: int, total: int | None) -> None:
        with pytest.raises(RejoinderError, match="another run"):
            run(source, target)

    assert answer_file(GOLDEN, lambda p: Echo(), source, target, ReplyRequest(()), second) == 5


def test_columns_of_mixed_types_are_json_in_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    source, target = tmp_path / "in.jsonl", tmp_path / "out.parquet"
    values = [1, "one", None, {"a": []}, 2.5]
    source.write_text("\n".join(json.dumps({"text": "x", "mixed": v, "number": i + 0.5 * (i % 2)}) for i, v in
                                enumerate(values)), encoding="utf-8")  # fmt: skip
    run(source, target)
    found = rows(target)
    assert [json.loads(row["mixed"]) for row in found] == values
    assert [row["number"] for row in found] == [0, 1.5, 2, 3.5, 4]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b'{"turns": ["a"]}\n{', "line 2: not JSON"),
        ("a.jsonl", b'{"turns": ["a"]}\n\n{"turns": "b"}', "line 3: a turn is not a text"),
        ("a.jsonl", b'{"other": 1}', "line 1: expected `turns`"),
        ("a.jsonl", b'{"messages": ["hello"]}', "line 1: `messages` is not a list of objects"),
        ("a.jsonl", b'{"messages": [{"role": "user", "content": null}]}', "line 1: a turn is not a text"),
        ("a.jsonl", b"\xff", "line 1: not UTF-8"),
        ("a.jsonl", b"", "no contexts"),
        ("a.csv", b"turns\n[1", "line 2: `turns` is '[1', expected a list as JSON"),
        ("a.csv", b'turns\n"[""a""]"\n"[""a\n""]",1\n', "line 3: 2 cells, expected 1"),
        ("a.csv", b"text,text\na,b\n", "line 1: two columns have the same name"),
        ("a.csv", b"other\na\n", "line 2: expected `turns`"),
        ("a.csv", b'text\n"a\n', "line 2: not CSV"),
        ("a.csv", b"text\n", "no contexts"),
        ("a.csv", b"text\n\xff", "not UTF-8"),
        ("a.parquet", b"PAR1 not really", "not Parquet"),
    ],
)
def test_bad_files_are_refused_with_their_line(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ContextError) as caught:
        list(read_contexts(path))
    assert says in str(caught.value)
    assert name in str(caught.value)


def test_places_that_cannot_be_written_are_refused_before_any_work(
    contexts: Callable[[str], Path], tmp_path: Path
) -> None:
    bot = Echo()
    for target in (tmp_path / "nowhere" / "out.jsonl", tmp_path):
        with pytest.raises(RejoinderError, match="cannot be written"):
            run(contexts(".jsonl"), target, bot)
    with pytest.raises(ContextError, match="cannot be read"):
        run(tmp_path / "none.jsonl", tmp_path / "out.jsonl", bot)
    assert bot.asked == []


def test_messages_are_turns_without_what_the_system_says(tmp_path: Path) -> None:
    talk = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}]
    jsonl, csv_file = tmp_path / "a.jsonl", tmp_path / "a.csv"
    jsonl.write_text(json.dumps({"messages": talk}), encoding="utf-8")
    with csv_file.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["messages"], [], [json.dumps(talk)]])
    assert [(line.number, line.turns) for line in read_contexts(jsonl)] == [(1, ["hello"])]
    assert [(line.number, line.turns) for line in read_contexts(csv_file)] == [(3, ["hello"])]


class Strict(Echo):
    """Takes turns of five letters at most, and no seed 9."""

    def check(self, request: ReplyRequest) -> None:
        """Refuse the rest."""
        if any(len(turn) > 5 for turn in request.turns):
            raise RequestError("turn 0 is long", "turns")
        if request.seed == 9:
            raise RequestError("seed is 9", "seed")


def test_a_line_that_cannot_be_answered_is_named_before_any_is(tmp_path: Path) -> None:
    source, target, bot = tmp_path / "in.jsonl", tmp_path / "out.jsonl", Strict()
    source.write_text('{"text": "hello"}\n\n{"text": "good morning"}\n', encoding="utf-8")
    with pytest.raises(ContextError, match=r"in\.jsonl, line 3: turn 0 is long"):
        run(source, target, bot)
    source.write_text('{"text": "hello"}\n', encoding="utf-8")
    with pytest.raises(RequestError, match=r"^seed is 9$"):  # no line's fault, but the settings'
        run(source, target, bot, seed=9)
    assert bot.asked == []
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize("later", [[], [5000, 0.5], [5000, "five"]])
def test_a_column_whose_type_changes_far_down_keeps_its_values(tmp_path: Path, later: list[object]) -> None:
    """Parquet is written 4096 rows at a time, and every part must have one type."""
    pytest.importorskip("pyarrow")
    values: list[object] = [*range(4096), *later]
    write_rows(tmp_path / "out.parquet", lambda: iter([json.dumps({"value": value}) for value in values]))
    found = [row["value"] for row in rows(tmp_path / "out.parquet")]
    assert ([json.loads(value) for value in found] if later[1:] == ["five"] else found) == values
