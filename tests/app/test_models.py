"""Which bundles of a directory are loaded, and what is said of the others."""

import logging
from pathlib import Path

import pytest

from app.models import Models
from chatbot import worker
from chatbot.errors import BundleError, RejoinderError
from chatbot.worker import ReplyBot
from tests.app.fakes import FakeBot


def load_models(directory: Path, known: dict[str, ReplyBot] | None = None) -> tuple[list[str], dict[str, str]]:
    """Load a directory in which every bundle is sound that has not "broken" in its name."""

    def load(path: Path) -> FakeBot:
        if "broken" in path.name:
            raise BundleError(f"{path.name}: generator.safetensors is truncated")
        return FakeBot(name=path.resolve().name)

    bots, broken = worker.load_models(directory, load, known, lambda path: (path / "config.json").read_text())
    return [bot.name for bot in bots], broken


def make_bundle(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}", encoding="utf-8")
    return path


def test_each_sub_directory_is_a_model(tmp_path: Path) -> None:
    for name in ("two", "one", ".half-written"):
        make_bundle(tmp_path / name)
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "events").write_text("no model")
    (tmp_path / "README.md").write_text("no model")
    assert load_models(tmp_path) == (["one", "two"], {})


def test_a_broken_one_is_set_aside_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_bundle(tmp_path / "good")
    (make_bundle(tmp_path / "broken") / "config.json").rename(tmp_path / "broken" / "generator.safetensors")
    with caplog.at_level(logging.ERROR):
        names, broken = load_models(tmp_path)
    assert names == ["good"]
    assert broken == {"broken": "broken: generator.safetensors is truncated"}
    assert "generator.safetensors is truncated" in caplog.text


def test_two_that_end_up_with_one_name_are_not_mixed_up(tmp_path: Path) -> None:
    make_bundle(tmp_path / "models" / "best")
    make_bundle(tmp_path / "elsewhere" / "best")
    (tmp_path / "models" / "link").symlink_to(tmp_path / "elsewhere" / "best")
    names, broken = load_models(tmp_path / "models")
    assert names == ["best"]
    assert "already" in broken["link"]


def test_none_of_them_loads(tmp_path: Path) -> None:
    make_bundle(tmp_path / "broken-1")
    make_bundle(tmp_path / "broken-2")
    with pytest.raises(RejoinderError, match=r"none of the 2 models.*truncated"):
        load_models(tmp_path)


def test_an_empty_directory_is_a_start(tmp_path: Path) -> None:
    assert load_models(tmp_path) == ([], {})


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(RejoinderError, match="no such directory"):
        load_models(tmp_path / "none")


def test_only_what_has_changed_is_loaded_anew(tmp_path: Path) -> None:
    for name in ("same", "other"):
        make_bundle(tmp_path / name)
    (tmp_path / "same" / "config.json").write_text("v1", encoding="utf-8")
    same, other = FakeBot("same", digest="v1"), FakeBot("other", digest="v1")
    bots, _ = worker.load_models(
        tmp_path,
        lambda path: FakeBot(path.name, digest="v2"),
        {"same": same, "other": other},
        lambda path: (path / "config.json").read_text(encoding="utf-8"),
    )
    assert [bot is old for bot, old in zip(bots, (other, same), strict=True)] == [False, True]


def test_models_are_found_by_name() -> None:
    bot = worker.card_of(FakeBot("one"))
    assert Models([bot]).get("one") is bot
