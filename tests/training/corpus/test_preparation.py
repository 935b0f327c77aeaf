"""From files to a prepared dataset: every format, the counts, the limits, and the same files every time."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chatbot.tokenizer import TURN, Tokenizer
from training.corpus import preparation
from training.corpus.dataset import PreparedDataset
from training.corpus.errors import CorpusError
from training.corpus.options import PrepareOptions
from training.corpus.preparation import Summary, prepare

SPLITS = ("train", "valid", "test")


def options(tmp_path: Path, **changes: Any) -> PrepareOptions:
    return PrepareOptions(**{"out": tmp_path / "data", "vocabulary": 300, **changes})


def write_jsonl(path: Path, *records: Any) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


def dialogues(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"turns": [f"hello {i}", f"你好 {i}", f"bye {i} 👋"]} for i in range(start, start + count)]


def texts(out: Path) -> dict[str, list[list[str]]]:
    """Return the dialogues of each split, read back from the arrays."""
    dataset = PreparedDataset.open(out)
    tokenizer = Tokenizer.load(dataset.tokenizer_path)
    found: dict[str, list[list[str]]] = {}
    for name in SPLITS:
        split = dataset.split(name)
        turns = [
            tokenizer.decode(split.tokens[a:b].tolist()) for a, b in zip(split.turns[:-1], split.turns[1:], strict=True)
        ]
        found[name] = [turns[a:b] for a, b in zip(split.dialogues[:-1], split.dialogues[1:], strict=True)]
    return found


def pairs(out: Path) -> list[tuple[list[str], str]]:
    """Return context and reply of every pair of the three splits, in text."""
    dataset = PreparedDataset.open(out)
    tokenizer = Tokenizer.load(dataset.tokenizer_path)
    found = []
    for name in SPLITS:
        split = dataset.split(name)
        for i in range(len(split)):
            context = split.context(i, 10**6)
            parts = np.split(context, np.flatnonzero(context == TURN) + 1)[:-1]
            found.append(([tokenizer.decode(p.tolist()) for p in parts], tokenizer.decode(split.reply(i).tolist())))
    return found


def test_the_numbers_of_a_small_corpus(tmp_path: Path) -> None:
    given = [{"split": "train"}] * 3 + [{"split": "validation"}, {"split": "test"}]
    records = [{**d, **g, "license": "CC0", "source": "x"} for d, g in zip(dialogues(5), given, strict=True)]
    records[1] = {"turns": ["a", "b", " ", "c", "b"], "split": "train"}
    records.append({**records[4], "split": "train"})
    source = write_jsonl(tmp_path / "a.jsonl", *records)
    summary = prepare([source], options(tmp_path, license="MIT", vocabulary=259))  # no merges: an id for each byte
    document = json.loads((tmp_path / "data" / "dataset.json").read_text(encoding="utf-8"))
    assert summary == Summary(tmp_path / "data", document)
    assert (document["format"], document["version"]) == ("rejoinder-dataset", 1)
    assert (document["records"], document["duplicates"], document["joined_messages"]) == (6, 1, 1)
    assert document["left_out"] == {"empty messages": 1}
    assert document["licenses"] == {"CC0": 4, "MIT": 1}
    assert document["origins"] == {"x": 4, "a.jsonl": 1}
    assert document["rejected"] == {"count": 0, "kinds": {}}
    assert document["vocabulary"] == {"asked": 259, "used": 259, "learnt_from_dialogues": 3}
    counts = {name: (s["dialogues"], s["turns"], s["pairs"]) for name, s in document["splits"].items()}
    assert counts == {"train": (3, 9, 6), "valid": (1, 3, 2), "test": (1, 3, 2)}
    # With TURN, the dialogues of "hello 0" have turns of 8, 9 and 11 ids, "a", "b c", "b" of 2, 4 and 2.
    train = document["splits"]["train"]
    assert (train["tokens"], train["reply_tokens"]) == (28 + 28 + 8, 20 + 20 + 6)
    assert train["reply_length"] == {"mean": 7.667, "p50": 9, "p90": 11, "p95": 11, "p99": 11, "max": 11}
    assert train["context_length"] == {"mean": 9.667, "p50": 8, "p90": 17, "p95": 17, "p99": 17, "max": 17}
    assert document["frequent_replies"]["share"] == 1
    assert document["frequent_replies"]["replies"][0]["count"] == 1
    assert document["sources"][0]["name"] == "a.jsonl"
    assert str(tmp_path) not in json.dumps(document)
    assert texts(tmp_path / "data")["train"][1] == ["a", "b c", "b"]


def test_frequent_replies_are_counted_in_the_training_part(tmp_path: Path) -> None:
    records = [{"turns": [f"q{i}", "yes"], "split": "train"} for i in range(30)]
    records += [{"turns": [f"q{i}", f"no {i}"], "split": "train"} for i in range(70)]
    records += [{"turns": [f"q{i}", f"perhaps {s}"], "split": s} for i in range(50) for s in ("valid", "test")]
    frequent = prepare([write_jsonl(tmp_path / "a.jsonl", *records)], options(tmp_path)).document["frequent_replies"]
    assert frequent["replies"][0] == {"text": "yes", "count": 30}
    assert len(frequent["replies"]) == 20
    assert frequent["share"] == pytest.approx((30 + 19) / 100)
    assert frequent["distinct_replies"] == 71


def test_the_context_reaches_back_max_turns(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", {"turns": ["a", "b", "c", "d"]})
    prepare([source], options(tmp_path, max_turns=2))
    assert pairs(tmp_path / "data") == [(["a"], "b"), (["a", "b"], "c"), (["b", "c"], "d")]


def test_with_roles_only_the_assistant_replies(tmp_path: Path) -> None:
    turns = [("system", "s"), ("assistant", "hi"), ("user", "a"), ("user", "b"), ("assistant", "c"), ("user", "d")]
    openai = {"messages": [{"role": role, "content": text} for role, text in turns]}
    sharegpt = {"conversations": [{"from": "human", "value": "e"}, {"from": "gpt", "value": "f"}]}
    summary = prepare([write_jsonl(tmp_path / "a.jsonl", openai, sharegpt)], options(tmp_path, valid=0, test=0))
    assert pairs(tmp_path / "data") == [(["hi", "a b"], "c"), (["e"], "f")]
    assert summary.document["left_out"] == {"system messages": 1}


@pytest.mark.parametrize(
    ("name", "text", "changes"),
    [
        ("a.csv", "q,a\nhi,yo\n", {"columns": ("q", "a")}),
        ("a.tsv", "a\tq\nyo\thi\n", {"columns": ("q", "a")}),
        ("a.csv", "\ufeffd,t\n1,hi\n1,yo\n", {"dialogue_column": "d", "text_column": "t"}),
        ("a.txt", "hi\nyo\n", {}),
        ("a.dat", "hi\nyo\n", {"format": "text"}),
        ("a.jsonl", '\ufeff{"turns": ["hi", "yo"]}', {}),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_every_format(tmp_path: Path, name: str, text: str, changes: dict[str, Any], packed: bool) -> None:
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    prepare([str(path)], options(tmp_path, **changes))
    assert pairs(tmp_path / "data") == [(["hi"], "yo")]


def test_the_packaged_corpus(tmp_path: Path) -> None:
    summary = prepare(["chitchat"], options(tmp_path, vocabulary=1000, limit=200))
    document = summary.document
    found = {name: document["splits"][name]["dialogues"] for name in SPLITS}
    assert found["train"] == 200
    assert found["valid"] > 0  # of those that nothing released has learnt from, met on the way
    assert found["test"] > 0
    assert document["licenses"] == {"MIT": sum(found.values())}
    assert document["origins"] == {"chitchat-dataset": sum(found.values())}
    assert document["vocabulary"]["used"] == 1000
    assert document["left_out"]["conversations that nobody answered"] > 0
    assert document["joined_messages"] > 0
    assert summary.rejected == 0
    assert summary.pairs("train") > 1000
    assert all(turn for found in texts(tmp_path / "data").values() for turns in found for turn in turns)


def test_a_directory_keeps_its_splits_and_the_held_out_copy_of_a_duplicate(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name, start, count in (("train", 0, 12), ("valid", 10, 5), ("test", 14, 5)):
        write_jsonl(source / f"{name}.jsonl", *dialogues(count, start))
    summary = prepare([str(source)], options(tmp_path))
    first = {name: [turns[0] for turns in found] for name, found in texts(tmp_path / "data").items()}
    assert first == {
        "test": [f"hello {i}" for i in range(14, 19)],
        "valid": [f"hello {i}" for i in range(10, 14)],
        "train": [f"hello {i}" for i in range(10)],
    }
    assert summary.document["duplicates"] == 3
    assert next((s["name"], s["split"]) for s in summary.document["sources"]) == ("source/test.jsonl", "test")


def test_the_limit_counts_training_dialogues_where_splits_are_given(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name, start in (("train", 0), ("valid", 10), ("test", 20)):
        write_jsonl(source / f"{name}.jsonl", *dialogues(10, start))
    prepare([str(source)], options(tmp_path, limit=4))
    assert {name: len(found) for name, found in texts(tmp_path / "data").items()} == {
        "train": 4,
        "valid": 10,
        "test": 10,
    }


def test_no_dialogue_is_in_two_splits_and_more_data_move_none(tmp_path: Path) -> None:
    shares = {"valid": 0.2, "test": 0.2}
    few = write_jsonl(tmp_path / "few.jsonl", *dialogues(60), *dialogues(30))
    prepare([few], options(tmp_path, out=tmp_path / "few", **shares))
    many = write_jsonl(tmp_path / "many.jsonl", *dialogues(100, 60))
    prepare([many, few], options(tmp_path, out=tmp_path / "many", **shares))
    prepare([few], options(tmp_path, out=tmp_path / "other", seed=1, **shares))
    before, after, other = (
        {name: {turns[0] for turns in found} for name, found in texts(tmp_path / out).items()}
        for out in ("few", "many", "other")
    )
    for found, count in ((before, 60), (after, 160)):
        assert sum(map(len, found.values())) == count
        assert set.union(*found.values()) == {f"hello {i}" for i in range(count)}
        assert min(map(len, found.values())) >= 5
    assert all(before[name] <= after[name] for name in SPLITS)
    assert before != other


def test_ten_dialogues_give_all_three_splits(tmp_path: Path) -> None:
    for seed in range(5):
        out = tmp_path / str(seed)
        prepare([write_jsonl(tmp_path / "a.jsonl", *dialogues(10))], options(tmp_path, out=out, seed=seed))
        assert all(texts(out).values())


def test_the_same_input_gives_the_same_files(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", *dialogues(80), {"turns": ["x"]})
    for out in ("one", "two"):
        prepare([source], options(tmp_path, out=tmp_path / out, max_rejected=0.5))
    files = [sorted(p for p in (tmp_path / out).rglob("*") if p.is_file()) for out in ("one", "two")]
    assert len(files[0]) == 15
    assert [p.read_bytes() for p in files[0]] == [p.read_bytes() for p in files[1]]
    assert not list((tmp_path / "one").glob("spool*"))


def test_the_tokenizer_learns_from_training_dialogues_only(tmp_path: Path) -> None:
    records = [{"turns": [f"aaaa {i}", "aaaa"], "split": "train"} for i in range(9)]
    records += [{"turns": [f"zzzz {i}", "zzzz"], "split": split} for i in range(9) for split in ("valid", "test")]
    prepare([write_jsonl(tmp_path / "a.jsonl", *records)], options(tmp_path, vocabulary=262))
    tokenizer = Tokenizer.load(tmp_path / "data" / "tokenizer.json")
    assert len(tokenizer.encode("aaaa")) < 4
    assert len(tokenizer.encode("zzzz")) == 4


def test_a_large_corpus_teaches_the_tokenizer_by_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", *dialogues(400))
    monkeypatch.setattr(preparation, "TOKENIZER_TEXT", 1000)  # bytes; a dialogue here has about 30
    document = prepare([source], options(tmp_path)).document
    assert 20 < document["vocabulary"]["learnt_from_dialogues"] < 40
    monkeypatch.setattr(preparation, "TOKENIZER_TEXT", 1)
    document = prepare([source], options(tmp_path, overwrite=True)).document
    assert document["vocabulary"]["learnt_from_dialogues"] == 1


def test_progress_is_told(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int | None]] = []
    prepare(
        [write_jsonl(tmp_path / "a.jsonl", *dialogues(1200))],
        options(tmp_path),
        lambda stage, done, total: calls.append((stage, done, total)),
    )
    assert list(dict.fromkeys(stage for stage, _, _ in calls)) == ["read", "tokenizer", "pack"]
    assert calls[0] == ("read", 500, None)
    assert ("read", 1200, 1200) in calls
    assert calls[-1] == ("pack", 1200, 1200)


BAD = rb"""{"turns": ["a@", "b"]}
{"turns": ["only one"]}
{"turns": ["a", "\ud83d"]}
{"turns": ["a", "b\u0000"]}
{
""".replace(b"@", b"\xff")


def test_bad_lines_are_counted_and_written_down(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_bytes(b"\n".join(json.dumps(d).encode() for d in dialogues(5)) + b"\n" + BAD)
    summary = prepare([str(source)], options(tmp_path, max_rejected=0.5))
    assert summary.rejected == 5
    assert summary.document["rejected"]["kinds"] == {
        "not UTF-8": 1,
        "fewer than two turns": 1,
        "lone surrogate": 1,
        "NUL character": 1,
        "broken JSON": 1,
    }
    lines = (tmp_path / "data" / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["line"] for entry in entries] == [6, 7, 8, 9, 10]
    assert all(entry["file"] == str(source) for entry in entries)
    assert entries[0]["text"] == '{"turns": ["a\\xff", "b"]}'
    assert entries[1]["reason"] == "fewer than two turns: 1 after cleaning"
    assert entries[1]["text"] == "only one"


def test_too_many_bad_lines_fail_with_the_first_reasons_and_keep_the_list(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_bytes(b"\n".join(json.dumps(d).encode() for d in dialogues(5)) + b"\n" + BAD)
    with pytest.raises(CorpusError) as caught:
        prepare([str(source)], options(tmp_path, max_rejected=0.49))
    kept = tmp_path / "data.rejected.jsonl"
    message = str(caught.value)
    assert message.startswith("5 of 10 records (50.00%) cannot be used, allowed are 49.00%: ")
    assert f"{source}:6 not UTF-8: byte 0xff at position 13; {source}:7 fewer than two turns" in message
    assert str(kept) in message
    assert "\n" not in message
    assert len(kept.read_text(encoding="utf-8").splitlines()) == 5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "data.rejected.jsonl"]


def test_the_allowed_share_itself_is_allowed(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", *dialogues(99), {})
    assert prepare([source], options(tmp_path)).rejected == 1
    write_jsonl(tmp_path / "a.jsonl", *dialogues(98), {})
    with pytest.raises(CorpusError, match="1 of 99 records"):
        prepare([source], options(tmp_path, overwrite=True))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vocabulary": 100}, "vocabulary 100: expected 259 to 65536"),
        ({"valid": 1.5}, "valid 1.5: expected a share"),
        ({"valid": float("nan")}, "valid nan"),
        ({"valid": 0.5, "test": 0.5}, "nothing for training"),
        ({"max_rejected": -1}, "max_rejected"),
        ({"max_turns": 0}, "max_turns 0: expected 1 or more"),
        ({"limit": 0}, "limit 0"),
        ({"format": "xml"}, "unknown format 'xml'"),
        ({"columns": ("a",)}, "one column named"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", *dialogues(5))
    with pytest.raises(CorpusError, match=words):
        prepare([source], options(tmp_path, **changes))
    assert not (tmp_path / "data").exists()


def test_sources_that_cannot_be_used_leave_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "empty.jsonl").write_bytes(b"\n \n")
    (source / "empty.csv").write_bytes(b"")
    (source / "wrong.csv").write_bytes(b"q,a\n1,2\n")
    (source / "short.jsonl.gz").write_bytes(gzip.compress(json.dumps(dialogues(1)[0]).encode())[:-9])
    for name, words in [
        ("empty.jsonl", r"no dialogue to learn from in .*empty\.jsonl \(0 records read\)"),
        ("empty.csv", "empty table"),
        ("wrong.csv", r"wrong\.csv: the column 'question' is missing; the columns found are: q, a"),
        ("short.jsonl.gz", "truncated"),
        ("none.jsonl", "no such file"),
    ]:
        with pytest.raises(CorpusError, match=words):
            prepare([str(source / name)], options(tmp_path, columns=("question", "answer")))
        assert [p.name for p in tmp_path.iterdir()] == ["source"]


def test_what_exists_is_not_replaced_unasked(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", *dialogues(10))
    prepare([source], options(tmp_path))
    with pytest.raises(CorpusError, match="holds a prepared dataset"):
        prepare([source], options(tmp_path))
    with pytest.raises(CorpusError, match="no such file"):
        prepare([str(tmp_path / "none.txt")], options(tmp_path, overwrite=True))
    assert len(PreparedDataset.open(tmp_path / "data").split("train")) > 0
    prepare([write_jsonl(tmp_path / "a.jsonl", *dialogues(20))], options(tmp_path, overwrite=True))
    assert sum(len(found) for found in texts(tmp_path / "data").values()) == 20
