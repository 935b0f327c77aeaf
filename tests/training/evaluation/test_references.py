"""The best BLEU of several references, checked against sacreBLEU, and files with and without faults."""

import gzip
import json
import math
from pathlib import Path

import pytest
import sacrebleu

from training.corpus.errors import CorpusError
from training.evaluation.references import Referenced, max_bleu, read_references


def test_bleu_by_hand() -> None:
    # "the cat sat" against "the cat ran": unigrams 2/3, bigrams 1/2, no brevity penalty: sqrt(1/3)
    assert max_bleu(["the cat sat"], [["the cat ran"]], 2).tolist() == pytest.approx([100 * math.sqrt(1 / 3)])
    assert max_bleu(["a b c d e"], [["x y", "a b c d e"]]).tolist() == pytest.approx([100.0])
    assert max_bleu(["x"], [["a b c"]]).tolist() == [0.0]


def test_it_is_the_best_of_sacrebleus_sentence_scores() -> None:
    replies = ["I would like some tea, please.", "no way", "That is a very good idea indeed!"]
    references = [
        ["I would like tea, please.", "Coffee for me.", "Some tea would be nice."],
        ["No way!", "no, there is no way"],
        ["That is good.", "what a very good idea"],
    ]
    expected = [
        max(sacrebleu.sentence_bleu(reply, [one], use_effective_order=True).score for one in right)
        for reply, right in zip(replies, references, strict=True)
    ]
    assert max_bleu(replies, references).tolist() == pytest.approx(expected)


def test_chinese_is_compared_by_characters() -> None:
    expected = sacrebleu.sentence_bleu("我喜欢喝茶", ["我喜欢喝咖啡"], tokenize="zh", use_effective_order=True).score
    assert max_bleu(["我喜欢喝茶"], [["我喜欢喝咖啡", "不"]]).tolist() == pytest.approx([expected])
    assert expected > 30


@pytest.mark.parametrize("references", [[], [["a"], ["b"]], [[]]])
def test_each_reply_needs_its_references(references: list[list[str]]) -> None:
    with pytest.raises(ValueError, match="references"):
        max_bleu(["a"], references)


@pytest.mark.parametrize("name", ["some.jsonl", "some.jsonl.gz"])
def test_files_are_read(tmp_path: Path, name: str) -> None:
    lines = [
        json.dumps({"context": ["Hi  there", "hello"], "references": ["How are you?"], "other": 3}),
        "",
        json.dumps({"context": ["你好"], "references": ["你好", "早"]}, ensure_ascii=False),
    ]
    data = "\n".join(lines).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert read_references(tmp_path / name) == [
        Referenced(("Hi there", "hello"), ("How are you?",)),
        Referenced(("你好",), ("你好", "早")),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2: list, expected a JSON object"),
        ('{"references": ["a"]}', 'line 2, field "context": expected a list'),
        ('{"context": ["a"], "references": []}', 'line 2, field "references": expected a list'),
        ('{"context": "a", "references": ["a"]}', 'line 2, field "context"'),
        ('{"context": ["a"], "references": ["a", 1]}', 'line 2, field "references"'),
        ('{"context": [" "], "references": ["a"]}', 'line 2, field "context"'),
    ],
)
def test_a_fault_is_named_with_line_and_field(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "faulty.jsonl"
    path.write_text('{"context": ["a"], "references": ["b"]}\n' + line, encoding="utf-8")
    with pytest.raises(CorpusError, match=message):
        read_references(path)


def test_empty_missing_and_damaged_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(CorpusError, match="empty, expected lines"):
        read_references(tmp_path / "empty.jsonl")
    with pytest.raises(CorpusError, match="cannot be read"):
        read_references(tmp_path / "nowhere.jsonl")
    (tmp_path / "bad.jsonl.gz").write_bytes(b"not gzip")
    with pytest.raises(CorpusError, match="not gzip"):
        read_references(tmp_path / "bad.jsonl.gz")
