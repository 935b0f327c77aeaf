"""A bundle from a stranger: it reads no file but its own, and runs nothing."""

import os
import pickle
import shutil
from pathlib import Path

import pytest

from chatbot.bot import Bot
from chatbot.bundle import load_bundle
from chatbot.errors import BundleError
from chatbot.models_directory import load_models

GOLDEN = Path(__file__).parents[2] / "golden" / "recurrent"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Give a directory of models with one that is as it should be and one that a stranger made."""
    models = tmp_path / "models"
    for name in ("good", "strange"):
        shutil.copytree(GOLDEN, models / name)
    (tmp_path / "secret").write_text("nobody is to read this", encoding="utf-8")
    return models


@pytest.mark.parametrize("name", ["README.md", "config.json", "tokenizer.json", "more.txt", "deep/er.txt"])
@pytest.mark.parametrize("target", ["../../secret", "/etc/passwd", "../good/README.md", "/nothing/there"])
def test_a_link_out_of_a_bundle_is_refused(models: Path, name: str, target: str) -> None:
    path = models / "strange" / name
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target if "/" not in name else (models / "strange" / target).resolve())
    with pytest.raises(BundleError, match="is a link that leads out of the bundle"):
        load_bundle(models / "strange")
    loaded, broken = load_models(models, lambda path: Bot.load(path, "cpu"))
    assert ([one.model.name for one in loaded], list(broken)) == (["good"], ["strange"])


def test_a_link_within_a_bundle_is_its_own_affair(models: Path) -> None:
    card = models / "strange" / "README.md"
    card.rename(models / "strange" / "card.txt")
    card.symlink_to("card.txt")
    assert load_bundle(models / "strange").card == (GOLDEN / "README.md").read_text(encoding="utf-8")


class Trap:
    """Pickled, it would make a directory when it is loaded."""

    def __init__(self, where: Path) -> None:
        self._where = str(where)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self._where,)


@pytest.mark.parametrize(
    "name", ["generator.safetensors", "discriminator.safetensors", "tokenizer.json", "config.json"]
)
def test_a_pickle_is_not_read(models: Path, tmp_path: Path, name: str) -> None:
    (models / "strange" / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(BundleError):
        load_bundle(models / "strange")
    assert not (tmp_path / "sprung").exists()
