"""The bundle that most tests of exports write."""

from pathlib import Path

import pytest

from chatbot.bundle import Bundle, save_bundle
from chatbot.tokenizer import Tokenizer
from tests.chatbot.export.examples import lively


@pytest.fixture(scope="session")
def transformer(tokenizer: Tokenizer) -> Bundle:
    """Return a Transformer's bundle."""
    return lively("transformer", tokenizer)


@pytest.fixture
def bundle_directory(transformer: Bundle, tmp_path: Path) -> Path:
    """Return where that bundle is saved."""
    save_bundle(transformer, tmp_path / "bundle")
    return tmp_path / "bundle"
