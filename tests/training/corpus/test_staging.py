"""A directory appears whole or not at all, and nothing of the user's is lost."""

import json
from pathlib import Path

import pytest

from training.corpus.errors import CorpusError
from training.corpus.staging import rejected_beside, staged

DESCRIPTION = json.dumps({"format": "rejoinder-dataset", "version": 1})


def put(directory: Path, text: str) -> None:
    (directory / "dataset.json").write_text(text, encoding="utf-8")


def fail_inside(out: Path, rejected: str, error: BaseException) -> None:
    with staged(out, overwrite=False) as staging:
        put(staging, DESCRIPTION)
        (staging / "rejected.jsonl").write_text(rejected, encoding="utf-8")
        raise error


def test_the_directory_appears_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "new" / "data"
    with staged(out, overwrite=False) as staging:
        put(staging, DESCRIPTION)
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["dataset.json"]
    assert [path.name for path in out.parent.iterdir()] == ["data"]


@pytest.mark.parametrize("error", [CorpusError("x"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_error_leaves_only_what_was_rejected(tmp_path: Path, error: BaseException) -> None:
    out = tmp_path / "data"
    expected = CorpusError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected, match="No space left" if isinstance(error, OSError) else None):
        fail_inside(out, '{"line": 1}\n', error)
    assert [path.name for path in tmp_path.iterdir()] == ["data.rejected.jsonl"]
    assert rejected_beside(out).read_text(encoding="utf-8") == '{"line": 1}\n'
    with staged(out, overwrite=False) as staging:
        put(staging, DESCRIPTION)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_nothing_rejected_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="broke"):
        fail_inside(tmp_path / "data", "", CorpusError("broke"))
    assert list(tmp_path.iterdir()) == []


def test_a_prepared_dataset_is_replaced_only_when_asked(tmp_path: Path) -> None:
    out = tmp_path / "data"
    out.mkdir()
    put(out, DESCRIPTION)
    (out / "old").touch()
    with pytest.raises(CorpusError, match="holds a prepared dataset"), staged(out, overwrite=False):
        pytest.fail("must not begin")
    with pytest.raises(CorpusError, match="broke"), staged(out, overwrite=True):
        raise CorpusError("broke")
    assert (out / "old").exists()
    with staged(out, overwrite=True) as staging:
        put(staging, DESCRIPTION)
    assert [path.name for path in out.iterdir()] == ["dataset.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("text", [None, "{}", "not json"])
def test_a_directory_of_something_else_is_left_alone_even_when_asked(tmp_path: Path, text: str | None) -> None:
    out = tmp_path / "data"
    out.mkdir()
    (out / "thesis.tex").touch()
    if text is not None:
        put(out, text)
    with pytest.raises(CorpusError, match="not a prepared dataset; it is left alone"), staged(out, overwrite=True):
        pytest.fail("must not begin")
    assert (out / "thesis.tex").exists()


def test_an_empty_directory_is_used_and_a_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with staged(tmp_path / "data", overwrite=False) as staging:
        put(staging, DESCRIPTION)
    assert (tmp_path / "data" / "dataset.json").exists()
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match="a file is in the way"), staged(tmp_path / "file", overwrite=True):
        pytest.fail("must not begin")
    with pytest.raises(CorpusError, match="cannot be written"), staged(tmp_path / "file" / "data", overwrite=True):
        pytest.fail("must not begin")
