"""Which files a source stands for, and what is said when one cannot be read."""

import gzip
import sys
from pathlib import Path

import pytest

from training.corpus.errors import CorpusError
from training.corpus.sources import lines, resolve


def touch(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jsonl", "jsonl"),
        ("a.jsonl.gz", "jsonl"),
        ("A.CSV", "csv"),
        ("a.tsv", "tsv"),
        ("a.txt.gz", "text"),
    ],
)
def test_the_suffix_tells_the_format(tmp_path: Path, name: str, expected: str) -> None:
    touch(tmp_path, name)
    assert [file.format for file in resolve([str(tmp_path / name)])] == [expected]


def test_a_named_format_wins_over_the_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "a.log")
    assert resolve([str(tmp_path / "a.log")], "text")[0].format == "text"


def test_a_directory_named_for_the_splits_gives_them_and_held_out_files_are_read_first(tmp_path: Path) -> None:
    touch(tmp_path, "train.jsonl.gz", "validation.jsonl.gz", "test.jsonl.gz", "README.md", ".hidden.jsonl")
    assert [(file.name, file.split) for file in resolve([str(tmp_path)])] == [
        (f"{tmp_path.name}/test.jsonl.gz", "test"),
        (f"{tmp_path.name}/validation.jsonl.gz", "valid"),
        (f"{tmp_path.name}/train.jsonl.gz", "train"),
    ]


def test_a_directory_with_a_train_file_alone_gives_no_split(tmp_path: Path) -> None:
    touch(tmp_path, "train.jsonl", "more.jsonl")
    assert [(file.path.name, file.split) for file in resolve([str(tmp_path)])] == [
        ("more.jsonl", None),
        ("train.jsonl", None),
    ]


def test_what_is_missing_or_unknown_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.docx")
    empty = tmp_path / "empty"
    empty.mkdir()
    for sources, form, words in [
        ([], "auto", ["no source"]),
        ([str(tmp_path / "none.jsonl")], "auto", ["none.jsonl", "no such file"]),
        ([str(tmp_path / "a.docx")], "auto", ["a.docx", ".jsonl", ".csv"]),
        ([str(empty)], "auto", ["empty", "without files", ".jsonl"]),
        ([str(tmp_path)], "auto", ["without files"]),
        ([str(tmp_path / "a.docx")], "docx", ["'docx'", "jsonl"]),
        ([str(tmp_path / "a.docx")], "chitchat", ["a.docx", "the word chitchat"]),
        (["x" * 5000], "auto", ["cannot be read"]),
    ]:
        with pytest.raises(CorpusError) as caught:
            resolve(sources, form)
        assert all(word in str(caught.value) for word in words), str(caught.value)


def test_chitchat_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chitchat_dataset", None)
    with pytest.raises(CorpusError, match=r"pip install 'rejoinder\[train\]'"):
        resolve(["chitchat"])


def test_lines_come_unpacked_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.txt", tmp_path / "a.txt.gz"
    plain.write_bytes(b"\xef\xbb\xbfone\ntwo\r\n\xef\xbb\xbf")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(lines(plain)) == list(lines(packed)) == [b"one\n", b"two\r\n", b"\xef\xbb\xbf"]


def test_damaged_gzip_is_named_with_the_line(tmp_path: Path) -> None:
    packed = tmp_path / "a.txt.gz"
    text = "".join(f"line {i * i}\n" for i in range(5000)).encode()
    whole = gzip.compress(text, mtime=0)
    packed.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorpusError, match=r"a\.txt\.gz: the gzip data end early, after line [1-9]\d+; .* truncated"):
        list(lines(packed))
    packed.write_bytes(whole[:200] + bytes(200) + whole[400:])
    with pytest.raises(CorpusError, match="not gzip or damaged"):
        list(lines(packed))
    packed.write_bytes(b"no gzip at all")
    with pytest.raises(CorpusError, match="not gzip or damaged, after line 0"):
        list(lines(packed))


def test_a_directory_in_place_of_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="cannot be read"):
        list(lines(tmp_path))
