"""Which bundles of a directory are loaded, and what is said of the others."""

import logging
from pathlib import Path

import pytest

from app.models import Models, load_models
from chatbot.bot import Bot
from chatbot.errors import BundleError, RejoinderError
from tests.app.fakes import FakeBot


@pytest.fixture(autouse=True)
def bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every directory a bundle that has not "broken" in its name."""

    def load(path: Path, device: str = "auto") -> FakeBot:
        if "broken" in path.name:
            raise BundleError(f"{path.name}: generator.safetensors is truncated")
        return FakeBot(name=path.resolve().name, device=device)

    monkeypatch.setattr(Bot, "load", load)


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
    models = load_models(tmp_path, "cpu")
    assert models.names == ["one", "two"]
    assert {bot.device for bot in models} == {"cpu"}
    assert models.broken == {}


def test_a_broken_one_is_set_aside_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_bundle(tmp_path / "good")
    (make_bundle(tmp_path / "broken") / "config.json").rename(tmp_path / "broken" / "generator.safetensors")
    with caplog.at_level(logging.ERROR):
        models = load_models(tmp_path)
    assert models.names == ["good"]
    assert models.broken == {"broken": "broken: generator.safetensors is truncated"}
    assert "generator.safetensors is truncated" in caplog.text


def test_two_that_end_up_with_one_name_are_not_mixed_up(tmp_path: Path) -> None:
    make_bundle(tmp_path / "models" / "best")
    make_bundle(tmp_path / "elsewhere" / "best")
    (tmp_path / "models" / "link").symlink_to(tmp_path / "elsewhere" / "best")
    models = load_models(tmp_path / "models")
    assert models.names == ["best"]
    assert "already" in models.broken["link"]


def test_none_of_them_loads(tmp_path: Path) -> None:
    make_bundle(tmp_path / "broken-1")
    make_bundle(tmp_path / "broken-2")
    with pytest.raises(RejoinderError, match=r"none of the 2 models.*truncated"):
        load_models(tmp_path)


def test_an_empty_directory_is_a_start(tmp_path: Path) -> None:
    assert len(load_models(tmp_path)) == 0


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(RejoinderError, match="no such directory"):
        load_models(tmp_path / "none")


def test_models_are_found_by_name() -> None:
    bot = FakeBot("one")
    assert Models([bot]).get("one") is bot
