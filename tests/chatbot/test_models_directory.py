"""Which bundles of a directory are loaded, what is said of the others, and which are loaded anew."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from chatbot.errors import BundleError, RejoinderError
from chatbot.models_directory import bundles_in, load_models


@dataclass(frozen=True)
class Model:
    """What a bundle was when it was loaded."""

    name: str
    weights: str


def load(path: Path) -> Model:
    """Load a bundle; every one is sound that has not "broken" in its name."""
    if "broken" in path.name:
        raise BundleError(f"{path.name}: generator.safetensors is truncated")
    return Model(path.resolve().name, (path / "generator.safetensors").read_text(encoding="utf-8"))


def names_of(directory: Path) -> tuple[list[str], dict[str, str]]:
    """Load a directory and return the names of its models, and why the others are not loaded."""
    loaded, broken = load_models(directory, load)
    return [one.model.name for one in loaded], broken


def make_bundle(path: Path) -> Path:
    path.mkdir(parents=True)
    for name in ("config.json", "generator.safetensors", "README.md"):
        (path / name).write_text("as made", encoding="utf-8")
    return path


def test_each_sub_directory_is_a_model(tmp_path: Path) -> None:
    for name in ("two", "one", ".half-written"):
        make_bundle(tmp_path / name)
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "events").write_text("no model")
    (tmp_path / "README.md").write_text("no model")
    assert names_of(tmp_path) == (["one", "two"], {})


def test_a_broken_one_is_set_aside_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_bundle(tmp_path / "good")
    (make_bundle(tmp_path / "broken") / "config.json").unlink()
    with caplog.at_level(logging.ERROR):
        names, broken = names_of(tmp_path)
    assert names == ["good"]
    assert broken == {"broken": "broken: generator.safetensors is truncated"}
    assert "generator.safetensors is truncated" in caplog.text


def test_two_that_end_up_with_one_name_are_not_mixed_up(tmp_path: Path) -> None:
    make_bundle(tmp_path / "models" / "best")
    make_bundle(tmp_path / "elsewhere" / "best")
    (tmp_path / "models" / "link").symlink_to(tmp_path / "elsewhere" / "best")
    names, broken = names_of(tmp_path / "models")
    assert names == ["best"]
    assert "already" in broken["link"]


def test_none_of_them_loads(tmp_path: Path) -> None:
    make_bundle(tmp_path / "broken-1")
    make_bundle(tmp_path / "broken-2")
    with pytest.raises(RejoinderError, match=r"none of the 2 models.*truncated"):
        names_of(tmp_path)


def test_an_empty_directory_is_a_start(tmp_path: Path) -> None:
    assert names_of(tmp_path) == ([], {})


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(RejoinderError, match="no such directory"):
        names_of(tmp_path / "none")


def test_where_there_is_no_directory_there_are_no_bundles(tmp_path: Path) -> None:
    assert bundles_in(tmp_path / "none") == []


def copied_over(path: Path) -> None:
    """Put another file of the same length, as old as the one before, in the place of a bundle's weights."""
    weights = path / "generator.safetensors"
    state = weights.stat()
    other = path.parent / "copy"
    other.write_text("as sent", encoding="utf-8")
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    other.replace(weights)
    assert (weights.stat().st_size, weights.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: (path / "config.json").write_text("another one", encoding="utf-8"),
        lambda path: (path / "generator.safetensors").write_text("others", encoding="utf-8"),
        lambda path: (path / "README.md").write_text("a card of ours", encoding="utf-8"),
        lambda path: (path / "README.md").unlink(),
        lambda path: (path / "discriminator.safetensors").write_text("new", encoding="utf-8"),
        copied_over,
    ],
    ids=["config", "weights", "card", "card removed", "file added", "copied over with its time"],
)
def test_only_what_has_changed_is_loaded_anew(tmp_path: Path, change: Callable[[Path], None]) -> None:
    for name in ("other", "same"):
        make_bundle(tmp_path / name)
    first, _ = load_models(tmp_path, load)
    again, _ = load_models(tmp_path, load, first)
    assert [new is old for new, old in zip(again, first, strict=True)] == [True, True]
    change(tmp_path / "other")
    other, same = load_models(tmp_path, load, again)[0]
    assert other is not first[0]
    assert same is first[1]
    assert other.model.weights == (tmp_path / "other" / "generator.safetensors").read_text(encoding="utf-8")


def test_one_that_was_changed_for_the_worse_is_said_to_be_broken(tmp_path: Path) -> None:
    for name in ("cut", "good"):
        make_bundle(tmp_path / name)
    before, _ = load_models(tmp_path, load)

    def strict(path: Path) -> Model:
        raise BundleError(f"{path.name} was altered")

    (tmp_path / "cut" / "generator.safetensors").write_text("as", encoding="utf-8")
    loaded, broken = load_models(tmp_path, strict, before)
    assert loaded == [before[1]]
    assert broken == {"cut": "cut was altered"}
