"""The adapters that come with this project are what their config says, and small enough for a repository."""

import hashlib
from pathlib import Path

import pytest

from chatbot.bundle_config import read_config
from chatbot.pretrained_bundle import LANGUAGE_MODEL

RELEASED = sorted((Path(__file__).parents[3] / "bundles" / "adapters").iterdir())


@pytest.mark.parametrize("directory", RELEASED, ids=lambda path: path.name)
def test_every_file_but_the_language_model_is_there(directory: Path) -> None:
    files = read_config(directory)["files"]
    assert LANGUAGE_MODEL in files
    for name, digest in files.items():
        if name != LANGUAGE_MODEL:
            assert hashlib.sha256((directory / name).read_bytes()).hexdigest() == digest, name
    assert (directory / "README.md").is_file()
    assert sum(path.stat().st_size for path in directory.iterdir()) < 25 * 10**6
